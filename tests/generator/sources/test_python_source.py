"""`--model python:MODULE:FACTORY`: user code is found, imported and called; errors name its line."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.graphs.runtime import open_model
from modelrepo.generator.system.quiet import quiet
from modelrepo.generator.triton import pbtxt
from tests.conftest import PROJECT, Generate, Outcome, of_any_torch, snapshot

LINEAR = """
from typing import Annotated
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        self.dropout = torch.nn.Dropout()
    def forward(self, x, mask=None):
        answer = self.dropout(self.linear(x))
        return answer if mask is None else answer * mask

def net() -> Annotated[torch.nn.Module, "x=1x4"]:
    return Net()
"""


# The exporter that needs the least time, where it does not matter.
QUICK = ("--exporter", "torchscript", "--json")


def code(text: str, name: str = "nets.py") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def inputs_of(name: str) -> dict[str, list[int]]:
    config = pbtxt.parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), name)
    return {each.name: list(each.dims) for each in config.input}


def done(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    return outcome.result


def test_a_factory_with_an_annotation_needs_nothing_else_and_is_served(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    result = done(generate("--model", "python:nets:net", "--live-check", "require", "--json"))
    assert result["verification"]["live"]["status"] == "passed"
    assert (result["name"], result["max_batch_size"]) == ("net", 16)
    assert inputs_of("net") == {"x": [4]}
    assert not list(workdir.rglob("__pycache__"))


def test_the_search_path_for_modules_is_restored(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    before = list(sys.path), sys.dont_write_bytecode
    done(generate("--model", "python:nets:net", "--json"))
    assert (list(sys.path), sys.dont_write_bytecode) == before


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        ("made = Net()", "1x4"),  # a model that is there already, in training mode
        ("made = Net", "1x4"),  # a class
        ("def made(): return Net().linear.forward", "input=1x4"),  # a method of a module
        ("def made():\n    weight = torch.randn(4, 3)\n    return lambda x: x @ weight", "x=1x4"),  # a function
        ("class Nets:\n    made = staticmethod(net)\nmade = Nets.made", "1x4"),
        ("def made(): return torch.export.export(Net().eval(), (torch.ones(2, 4),))", ""),
    ],
    ids=["instance", "class", "method", "function", "static", "program"],
)
def test_any_callable_that_makes_a_model_is_accepted(made: str, shape: str, generate: Generate, workdir: Path) -> None:
    code(f"{LINEAR}\n{made}\n")
    shapes = ["--input-shape", shape] if shape else []
    assert done(generate("--model", "python:nets:made", *shapes, "--json"))["status"] == "published"


def test_a_module_compiled_by_torchscript_keeps_its_branches(generate: Generate, workdir: Path) -> None:
    code("""
        import warnings, torch
        class Net(torch.nn.Module):
            def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                return x + y if bool(x.sum() > 0) else x - y
        def made():
            warnings.simplefilter("ignore")
            return torch.jit.script(Net())
    """)
    result = done(generate("--model", "python:nets:made", "--input-shape", "x=1x4,y=1x4", "--json"))
    assert result["verification"]["passed"]


def test_a_keras_model_and_a_tf_function_are_exported_by_tensorflow(generate: Generate, workdir: Path) -> None:
    code("""
        import tensorflow as tf
        import keras
        def model():
            return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3)])
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="rows")])
        def doubled(rows):
            return {"twice": rows * 2}
        @tf.function
        def sized(rows): return rows * 2
    """)
    assert done(generate("--model", "python:nets:model", "--live-check", "require", "--json"))["status"] == "published"
    assert inputs_of("model") == {"x": [4]}
    np.savez("samples.npz", rows=np.ones((5, 4), "float32"), labels=np.zeros(5, int))
    done(generate("--model", "python:nets:sized", "--samples", "samples.npz", "--json"))
    assert inputs_of("sized") == {"rows": [4]}
    done(generate("--model", "python:nets:doubled", "--json"))
    assert inputs_of("doubled") == {"rows": [4]}
    import keras

    with quiet():
        for size, name in ((3, "good"), (5, "bad")):
            other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(size)])
            other.save_weights(f"{name}.weights.h5")
    arguments = ("--model", "python:nets:model", "--json", "--weights")
    assert done(generate(*arguments, "good.weights.h5"))["status"] == "published"
    outcome = generate(*arguments, "bad.weights.h5")
    assert outcome.code == 3
    assert "bad.weights.h5 does not fit python:nets:model" in outcome.err


def test_code_of_both_frameworks_is_exported(workdir: Path) -> None:
    """TensorFlow and torch's compiler both bring LLVM: the process aborts unless imported in the right order."""
    code("""
        import tensorflow
        import torch
        net = torch.nn.Linear(4, 2)
    """)
    told = ["generate", "--model", "python:nets:net", "--input-shape", "1x4", "--live-check", "off", "-q"]
    program = f"import sys; sys.argv = {told}; from modelrepo.cli.entry import generate; generate()"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", program], cwd=workdir, env=environment, check=True)


# What describes the inputs.


def test_inputs_come_from_the_options_before_samples_before_the_annotation(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    np.savez("samples.npz", x=np.ones((5, 4)), mask=np.ones((5, 3)), labels=np.zeros(5, int))
    done(generate("--model", "python:nets:net", *QUICK))
    assert inputs_of("net") == {"x": [4]}
    done(generate("--model", "python:nets:net", "--samples", "samples.npz", *QUICK))
    assert inputs_of("net") == {"x": [4], "mask": [3]}
    done(generate("--model", "python:nets:net", "--input-shape", "mask=1x1,x=1x4", *QUICK))
    assert inputs_of("net") == {"mask": [1], "x": [4]}


def test_a_single_array_of_samples_is_the_first_parameter(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    np.save("samples.npy", np.ones((2, 4), "float32"))
    done(generate("--model", "python:nets:Net", "--samples", "samples.npy", *QUICK))
    assert inputs_of("Net") == {"x": [4]}


def test_an_annotation_may_be_written_in_a_string(generate: Generate, workdir: Path) -> None:
    code(f"from __future__ import annotations\n{LINEAR}")
    done(generate("--model", "python:nets:net", *QUICK))
    assert inputs_of("net") == {"x": [4]}


@pytest.mark.parametrize(
    ("forward", "shapes"),
    [
        ("self, a, /, b: return a - 2 * b", "b=1x3,a=1x3"),
        ("self, *all: return all[1] - 2 * all[0]", "b=1x3,a=1x3"),
        ("self, **named: return named['a'] - 2 * named['b']", "b=1x3,a=1x3"),
        ("self, b, *, a: return a - 2 * b", "a=1x3,b=1x3"),
        ("self, first, second: return second - 2 * first", "b=1x3,a=1x3"),  # called otherwise: in their order
    ],
)
def test_examples_stand_for_the_parameters_of_their_names(
    forward: str, shapes: str, generate: Generate, workdir: Path
) -> None:
    signature, _, body = forward.partition(": ")
    code(f"import torch\nclass Net(torch.nn.Module):\n    def forward({signature}):\n        {body}\n")
    np.savez("samples.npz", a=np.full((2, 3), 5, "float32"), b=np.full((2, 3), 7, "float32"))
    done(generate("--model", "python:nets:Net", "--input-shape", shapes, "--samples", "samples.npz", *QUICK))
    import onnxruntime

    session = onnxruntime.InferenceSession("model_repository/Net/1/model.onnx")
    samples = dict(np.load("samples.npz").items())
    assert (session.run(None, samples)[0] == 5 - 14).all()


def test_tensors_of_a_list_and_of_a_dict_are_inputs_of_their_own(generate: Generate, workdir: Path) -> None:
    code(
        """
        from typing import Annotated
        import torch

        class Nested(torch.nn.Module):
            def forward(self, pair, named, plain):
                return pair[0] - pair[1] + 2 * named["left"] + 3 * named["deep"][0] + 5 * plain

        def net() -> Annotated[torch.nn.Module, "pair.0=1x4,pair.1=1x4,named.left=1x4,named.deep.0=1x4,plain=1x4"]:
            return Nested()
        """
    )
    result = done(generate("--model", "python:nets:net", *QUICK))
    assert result["max_batch_size"] == 16
    names = ["pair.0", "pair.1", "named.left", "named.deep.0", "plain"]
    assert list(inputs_of("net")) == names
    run = open_model(Path("model_repository/net/1/model.onnx"))
    one = np.ones((1, 4), "float32")
    (answer,) = run({name: one * 10**place for place, name in enumerate(names)}).values()
    np.testing.assert_allclose(answer, (1 - 10 + 2 * 100 + 3 * 1000 + 5 * 10000) * one)


def test_a_guessed_batch_is_dropped_if_the_model_does_not_take_it(generate: Generate, workdir: Path) -> None:
    code(
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return x.view(3, 4) @ torch.ones(4, 2)\n"
    )
    outcome = generate("--model", "python:nets:Net", "--input-shape", "3x4", "--json")
    assert done(outcome)["max_batch_size"] == 0
    assert inputs_of("Net") == {"x": [3, 4]}
    assert "warning: Net: its shapes are fixed" in outcome.err


# Weights.


def test_weights_are_those_of_a_file_or_seeded_or_the_factorys_own(generate: Generate, workdir: Path) -> None:
    import torch
    from safetensors.torch import save_file

    code(LINEAR)
    state = {"linear.weight": torch.full((3, 4), 2.0), "linear.bias": torch.zeros(3)}
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, "state.pth")
    save_file(state, "state.safetensors")

    def answers(*arguments: str) -> Any:
        import onnxruntime

        result = done(generate("--model", "python:nets:net", *QUICK, *arguments))
        path = f"model_repository/net/{result['version']}/model.onnx"
        return onnxruntime.InferenceSession(path).run(None, {"x": np.ones((1, 4), "float32")})[0]

    assert (answers("--weights", "state.safetensors") == 8).all()
    assert (answers("--weights", "state.pth") == 8).all()
    assert (answers("--seed", "1") == answers("--weights", "random", "--seed", "1")).all()
    assert (answers("--weights", "random", "--seed", "1") != answers("--weights", "random", "--seed", "2")).all()


# What counts as the model's content.


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", ""])
@pytest.mark.parametrize("own", ["layer", "module"])
def test_prefixes_of_wrappers_in_the_names_of_weights_are_ignored(prefix: str, own: str) -> None:
    import torch

    from modelrepo.generator.sources.pytorch import state_dict

    net = torch.nn.Sequential()
    net.add_module(own, torch.nn.Linear(4, 3))
    saved = {f"{prefix}{name}": torch.ones_like(value) for name, value in net.state_dict().items()}
    state_dict.fit(net, saved, Path("net.pth"), "net")
    assert net(torch.ones(1, 4)).tolist() == [[5, 5, 5]]


def test_weights_are_read_by_their_content_whatever_their_suffix(workdir: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from modelrepo.generator.sources.pytorch import state_dict

    save_file({"x": torch.ones(2)}, "safe.pth")
    torch.save({"x": torch.ones(2)}, "pickled.safetensors")
    for name in ("safe.pth", "pickled.safetensors"):
        assert state_dict.read_state(Path(name), trust=False)["x"].tolist() == [1, 1]


def test_weights_in_a_pipe_are_refused_without_waiting(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    os.mkfifo("pipe.pth")
    outcome = generate("--model", "python:nets:net", "--weights", "pipe.pth")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1), outcome.err
    assert "pipe.pth is not a file" in outcome.err


PROGRAM = """
import torch

def made():
    return torch.export.export(torch.nn.ReLU(), (torch.ones(2, 4),))

def scripted():
    return torch.jit.script(torch.nn.ReLU())
"""

COMPILED = """
import os
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, pixels):
        return {"": self.layer(pixels), "scale": self.layer.weight}


def made():
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    torch.set_default_dtype(torch.float64)
    return torch.compile(torch.nn.DataParallel(Net().float()))
"""


def test_wrappers_and_global_settings_of_the_users_code_are_undone(generate: Generate, workdir: Path) -> None:
    code(COMPILED)
    outcome = generate(
        "--model", "python:nets:made", "--input-shape", "pixels=1x4", "--exporter", "torchscript", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert inputs_of("made") == {"pixels": [-1, 4]}
    assert not any(Path("elsewhere").iterdir())
    code(LINEAR)
    outcome = generate("--model", "python:nets:net", "--exporter", "torchscript", "--json")
    assert outcome.code == 0, outcome.err


def test_an_edit_of_any_file_of_the_user_is_noticed(generate: Generate, workdir: Path) -> None:
    code("from .layers import Net\nimport common\ndef net(): return Net()", "project/nets.py")
    code(LINEAR, "project/layers.py")
    code("", "project/__init__.py")
    code("import deeper", "common.py")
    code("VALUE = 1", "deeper.py")
    code("VALUE = 1", "unrelated.py")

    def exported() -> bool:
        outcome = generate("--model", "python:project.nets:net", "--input-shape", "1x4", *QUICK)
        assert outcome.code == 0, outcome.err
        return "export" in outcome.report["seconds"]

    assert [exported(), exported()] == [True, False]
    code("VALUE = 2", "unrelated.py")
    assert not exported()
    code(LINEAR.replace("4, 3", "4, 5"), "project/layers.py")
    assert exported()
    assert "dims: [ 5 ]" in Path("model_repository/net/config.pbtxt").read_text()
    code("VALUE = 2", "deeper.py")
    assert exported()


def test_nothing_is_imported_to_see_that_nothing_changed(generate: Generate, workdir: Path) -> None:
    code(LINEAR)
    done(generate("--model", "python:nets:net", *QUICK))
    code(LINEAR.replace("import torch", "import torch; open('imported', 'w').close()"), "nets.py")
    code(LINEAR, "nets.py")
    sys.modules.pop("nets")
    assert done(generate("--model", "python:nets:net", *QUICK))["status"] == "unchanged"
    assert "nets" not in sys.modules


def test_modules_of_the_same_name_in_two_folders_are_two_modules(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (4, 6):
        folder = tmp_path / str(size)
        folder.mkdir()
        monkeypatch.chdir(folder)
        code(f"SIZE = {size}", "sizes.py")
        code("import sizes, torch\ndef net(): return torch.nn.Linear(sizes.SIZE, 2)")
        done(generate("--model", "python:nets:net", "--input-shape", f"1x{size}", *QUICK))
        assert inputs_of("net") == {"input": [size]}


def test_folders_that_a_module_adds_to_the_path_serve_its_factory_and_its_forward(
    generate: Generate, workdir: Path
) -> None:
    code("def doubled(x): return 2 * x", "lib/early.py")
    code("def halved(x): return x / 2", "lib/late.py")
    code(
        """
        import sys
        from pathlib import Path
        from typing import Annotated
        import torch
        sys.path.append(str(Path(__file__).parent / "lib"))

        class Net(torch.nn.Module):
            def forward(self, x):
                from late import halved
                return halved(x)

        def net() -> Annotated[torch.nn.Module, "x=1x4"]:
            from early import doubled
            return Net()

        def plain() -> Annotated[torch.nn.Module, "x=1x4"]:
            return torch.nn.Linear(4, 2)
        """
    )
    done(generate("--model", "python:nets:net", *QUICK))
    assert str(Path.cwd() / "lib") in sys.path
    code(LINEAR, "others.py")
    done(generate("--model", "python:others:net", *QUICK))
    assert str(Path.cwd() / "lib") not in sys.path


def test_modules_without_a_file_of_their_own_stay_for_the_next_model(workdir: Path) -> None:
    """torch.ops says that it comes from "_ops.py", which is in no folder; without it, the next model is a KeyError."""
    code("import torch")
    script = """
        import sys
        from modelrepo.generator.sources.python import user_code
        user_code.load("nets")
        user_code.load("nets")
        assert "torch.ops" in sys.modules and "torch.classes" in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_two_models_of_one_module_may_import_a_folder_without_init(workdir: Path) -> None:
    """Its name stays the key of a package that is gone: facenet-pytorch's second network was a KeyError."""
    (workdir / "own/parts").mkdir(parents=True)
    (workdir / "own/__init__.py").touch()
    (workdir / "own/parts/layers.py").write_text("SIZE = 4\n")
    code("from own.parts.layers import SIZE")
    script = """
        from modelrepo.generator.sources.python import user_code
        assert user_code.load("nets").SIZE == 4
        assert user_code.load("nets").SIZE == 4
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_an_installed_package_is_found(generate: Generate, workdir: Path) -> None:
    done(generate("--model", "python:torch.nn:ReLU", "--input-shape", "1x4", *QUICK))
    assert inputs_of("ReLU") == {"input": [4]}


# Bad input: name of the golden message, the code, what stands behind python: and further arguments.
BAD: dict[str, tuple[str, str]] = {
    "no-module": ("", "nowhere:net"),
    "near-module": (LINEAR, "nest:net"),
    "no-submodule": (LINEAR, "nets.deeper:net"),
    "a-path": (LINEAR, "./nets.py:net"),
    "no-factory-named": (LINEAR, "nets"),
    "no-factory": (LINEAR, "nets:ney"),
    "no-attribute": (LINEAR, "nets:net.deeper"),
    "syntax": ("def net(:\n", "nets:net"),
    "import-fails": ("import torch\n\nnet = torch.nn.Linear(3)\n", "nets:net"),
    "import-lacks": ("import nowhere\n", "nets:net"),
    "exits": ("raise SystemExit(3)\n", "nets:net"),
    "fails": ("def net():\n    return 1 / 0\n", "nets:net"),
    "needs-arguments": ("def net(size, depth, width=1): ...\n", "nets:net"),
    "nothing": ("def net(): pass\n", "nets:net"),
    "no-model": ("def net(): return {'a': 1}\n", "nets:net"),
    "a-class": (LINEAR + "def made(): return Net\n", "nets:made --input-shape 1x4"),
    "a-value": ("net = 3\n", "nets:net"),
    "meta": (LINEAR + "def made():\n    with torch.device('meta'): return Net()\n", "nets:made --input-shape 1x4"),
    "meta-buffer": (
        "import torch\n\n\ndef made():\n    net = torch.nn.Linear(4, 3)\n"
        "    net.register_buffer('scale', torch.empty(4, device='meta'))\n    return net\n",
        "nets:made --input-shape 1x4",
    ),
    "annotation-unknown": ("def net() -> 'Missing': return (lambda x: x)\n", "nets:net"),
    "annotation-wrong": (LINEAR.replace("x=1x4", "x=1xfour"), "nets:net"),
    "no-shape": (LINEAR, "nets:Net"),
    "no-shapes": ("class Net(__import__('torch').nn.Module):\n    def forward(self, ids, pixels): ...\n", "nets:Net"),
    "lacking": (
        "class Net(__import__('torch').nn.Module):\n    def forward(self, a, b): ...\n",
        "nets:Net --input-shape a=1x4",
    ),
    "unknown-input": (LINEAR, "nets:Net --input-shape x=1x4,y=1x4"),
    "shape-rejected": (LINEAR, "nets:net --input-shape 1x5"),
    "dynamic-unknown": (LINEAR, "nets:net --dynamic y:0=batch"),
    "dynamic-beyond": (LINEAR, "nets:net --dynamic x:2=batch"),
    "answers-number": (
        "net = __import__('torch').nn.Module()\nnet.forward = lambda x: 3\n",
        "nets:net --input-shape 1x4",
    ),
    "answers-bfloat16": ("def net(): return lambda x: x.bfloat16()\nimport torch\n", "nets:net --input-shape 1x4"),
    "answers-nested": (
        "def net(): return lambda x: torch.nested.nested_tensor([x[0], x[0]])\nimport torch\n",
        "nets:net --input-shape 1x4",
    ),
    "answers-itself": (
        "def answer(x):\n    found = {'x': x}\n    found['found'] = found\n    return found\n\n\n"
        "def net(): return answer\nimport torch\n",
        "nets:net --input-shape 1x4",
    ),
    "forward-exits": ("def net(): return lambda x: exit()\nimport torch\n", "nets:net --input-shape 1x4"),
    "text": (LINEAR, "nets:Net --input-shape x=1x4:string"),
    "too-large": (LINEAR, "nets:Net --input-shape x=1000000x1000000x1000"),
    "answers-complex": (
        "def net(): return lambda x: torch.complex(x, x)\nimport torch\n",
        "nets:net --input-shape 1x4",
    ),
    "weights-missing": (LINEAR, "nets:net --weights nowhere.pth"),
    "weights-other": (LINEAR, "nets:net --weights other.pth"),
    "weights-model": (LINEAR, "nets:net --weights net.onnx"),
    "weights-code": (LINEAR, "nets:net --weights module.pth"),
    "weights-of-function": (
        LINEAR + "def made(): return lambda x: x\n",
        "nets:made --input-shape 1x4 --weights other.pth",
    ),
    "samples": (LINEAR, "nets:Net --samples broken.npz"),
    "dynamic-axis": (LINEAR, "nets:Net --input-shape x=1x4 --dynamic x:0=a,0=b"),
    "program-shape": (PROGRAM, "nets:made --input-shape x=7x9"),
    "program-dynamic": (PROGRAM, "nets:made --dynamic input:0=batch"),
    "program-exporter": (PROGRAM, "nets:made --exporter torchscript"),
    "script-exporter": (PROGRAM, "nets:scripted --input-shape 1x4 --exporter torch.export"),
    "script-opset": (PROGRAM, "nets:scripted --input-shape 1x4 --opset 21"),
    "name-taken": (LINEAR, "json:net"),
}
CODES = {
    **dict.fromkeys(("dynamic-unknown", "dynamic-beyond", "dynamic-axis"), 2),
    **dict.fromkeys(("program-shape", "program-dynamic", "program-exporter", "samples"), 2),
    **dict.fromkeys(("script-exporter", "script-opset"), 4),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_input_gets_one_line_and_changes_nothing(
    case: str, generate: Generate, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    import torch

    text, arguments = BAD[case]
    Path("nets.py").write_text(text)
    Path("json.py").write_text(text)
    Path("broken.npz").write_bytes(b"PK\x03\x04")
    Path("net.onnx").write_bytes(b"\x08\x08\x3a\x00")
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    torch.save(torch.nn.Linear(4, 3), "module.pth")
    before = snapshot(workdir)
    outcome = generate("--model", *f"python:{arguments}".split(), "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert snapshot(workdir) == before
    told = outcome.err.replace(str(workdir), "/work").replace(json_file(), "json/__init__.py")
    golden(f"messages/pytorch/python-{case}.txt", of_any_torch(told))
    assert outcome.code == CODES.get(case, 3)


def json_file() -> str:
    import json

    return str(json.__file__)


def test_a_dry_run_imports_no_framework(workdir: Path) -> None:
    import subprocess

    code("raise RuntimeError('imported')")
    script = (
        "import sys; from modelrepo.cli.commands import generate; from modelrepo.cli.terminal import errors\n"
        "sys.argv = ['generate', '--model', 'python:nets:net', '--dry-run']\n"
        "assert errors.run(generate.generate, 'generate') == 0\n"
        "assert not {'torch', 'tensorflow', 'nets'} & set(sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
