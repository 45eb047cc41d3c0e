"""The rules of the other backends: what their model files and configurations tell without them."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.rules import rules
from tests.generator.lint.models import codes, found, host, lay

X = 'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: 5 }\n'
GPU = "instance_group { kind: KIND_GPU }\n"


def plan(*version: int) -> bytes:
    """Return the header of a plan."""
    return struct.pack("<IIIIII", 0x74727466, 0, 0, 0, 0, 0) + bytes(version) + bytes(40)


def parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


TRT = 'backend: "tensorrt"\nmax_batch_size: 8\n' + X + Y
PLAN = plan(11, 2, 1, 3)
SHAPES = (
    'optimization { cuda { graphs: true graph_spec { batch_size: 8 input { key: "x" value { dim: %s } } '
    'graph_lower_bound { batch_size: 1 input { key: "x" value { dim: %s } } } } } }'
)
SEVERAL = parameter("enable_multi_device", "TRUE")
HALF = "optimization { cuda { graphs: true graph_spec { batch_size: 9 } } }"


@pytest.mark.parametrize(
    ("config", "content", "expected"),
    [
        (TRT + GPU, plan(11, 2, 1, 3), set()),
        (TRT + GPU, plan(11, 3, 0, 0), {"TRT-NEWER"}),
        (TRT + GPU, plan(10, 5, 0, 18), {"TRT-OLDER"}),
        (TRT + GPU, plan(11, 2)[:20], {"TRT-READ"}),
        (TRT + GPU, b"", {"TRT-READ"}),
        (TRT + GPU, b"PK\x03\x04" + bytes(60), {"TRT-READ"}),
        (TRT + GPU, None, {"VDIR-EMPTY"}),
        (TRT, plan(11, 2, 1, 3), {"TRT-KIND"}),
        (TRT + GPU.replace("GPU", "CPU"), plan(11, 2, 1, 3), {"TRT-KIND"}),
        (TRT + GPU.replace("GPU", "MODEL"), plan(11, 2, 1, 3), {"TRT-KIND"}),
        (TRT.replace("FP32", "FP64", 1) + GPU, plan(11, 2, 1, 3), {"TRT-TYPE"}),
        (TRT.replace("FP32", "BF16", 1) + GPU, plan(11, 2, 1, 3), set()),
        (TRT + GPU + HALF, plan(11, 2, 1, 3), {"TRT-GRAPH"}),
        (TRT + GPU + HALF.replace("9", "8"), plan(11, 2, 1, 3), set()),
        (TRT + GPU + HALF.replace("true", "false"), plan(11, 2, 1, 3), set()),
        (TRT + GPU + parameter("execution_context_allocation_strategy", "static"), plan(11, 2, 1, 3), {"TRT-ALLOC"}),
        (TRT + GPU + SHAPES % ("2", "1"), plan(11, 2, 1, 3), set()),
        (TRT + GPU + SHAPES % ("2", "3"), plan(11, 2, 1, 3), {"TRT-GRAPH"}),
        (TRT + GPU + SHAPES % ("2", "[ 1, 1 ]"), plan(11, 2, 1, 3), {"TRT-GRAPH"}),
        (TRT + GPU + SHAPES % ("-1", "-1"), plan(11, 2, 1, 3), {"TRT-GRAPH"}),
        (TRT + GPU.replace("GPU", "MODEL") + SEVERAL + parameter("multi_device_gpus", "0, 1"), PLAN, set()),
        (TRT + GPU.replace("GPU", "MODEL") + SEVERAL + parameter("multi_device_gpus", "0,"), PLAN, {"TRT-DEVICES"}),
        (TRT + GPU.replace("GPU", "MODEL") + SEVERAL + parameter("multi_device_gpus", "0,b"), PLAN, {"TRT-DEVICES"}),
        (TRT + GPU.replace("GPU", "MODEL") + SEVERAL, PLAN, {"TRT-DEVICES"}),
        (TRT + GPU + SEVERAL + parameter("multi_device_gpus", "0,1"), PLAN, {"TRT-DEVICES"}),
        (TRT + GPU + 'cc_model_filenames { key: "8.6" value: "model.plan" }', plan(11, 2, 1, 3), set()),
        (TRT + GPU + 'cc_model_filenames { key: "8.6" value: "a10.plan" }', plan(11, 2, 1, 3), {"TRT-CC"}),
        (TRT + GPU + 'cc_model_filenames { key: "86" value: "model.plan" }', plan(11, 2, 1, 3), {"TRT-CC"}),
    ],
)
def test_plans(tmp_path: Path, config: str, content: bytes | None, expected: set[str]) -> None:
    folder = lay(tmp_path / "net", config, {} if content is None else {"1/model.plan": content})
    assert codes(folder, host("26.08")) == expected


def test_a_pointer_of_git_lfs_is_no_reason_to_build_the_plan_again(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102400\n"
    (finding,) = [
        each for each in found(lay(tmp_path / "net", TRT, {"1/model.plan": pointer})) if each.code == "TRT-READ"
    ]
    assert finding.problem.says.endswith("; model.plan: it is a Git LFS pointer")
    assert finding.problem.write == "Fetch the file itself: git lfs pull"


def test_a_pointer_of_git_lfs_is_no_python(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102400\n"
    (finding,) = [
        each for each in found(lay(tmp_path / "net", PY, {"1/model.py": pointer})) if each.code == "PY-SYNTAX"
    ]
    assert finding.problem.write == "Fetch the file itself: git lfs pull"


def test_several_gpus_are_of_newer_releases(tmp_path: Path) -> None:
    config = TRT + GPU.replace("GPU", "MODEL") + SEVERAL + parameter("multi_device_gpus", "0,1")
    folder = lay(tmp_path / "net", config, {"1/model.plan": PLAN})
    assert "TRT-KIND" in codes(folder, host("26.05"))
    assert "TRT-KIND" not in codes(folder, host("26.06"))


def test_the_file_for_a_kind_of_gpu_takes_no_others_place(tmp_path: Path) -> None:
    config = TRT + GPU + 'cc_model_filenames { key: "8.6" value: "a10.plan" }'
    folder = lay(tmp_path / "net", config, {"1/a10.plan": PLAN})
    assert "VDIR-EMPTY" not in codes(folder, host("26.08", gpus=1))
    assert "VDIR-EMPTY" in codes(folder, host("26.08"))


def test_a_release_without_a_known_tensorrt_is_said(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", TRT + GPU, {"1/model.plan": plan(11, 9, 0, 0)})
    assert codes(folder, host("26.10")) == {"TRT-RELEASE"}


OV = 'backend: "openvino"\n' + X.replace("4", "[ -1, 4 ]") + Y.replace("5", "[ -1, 5 ]")
CPU = "instance_group { kind: KIND_CPU }\n"
IR = """<?xml version="1.0"?>
<net name="net" version="11"><layers>
<layer id="0" name="x" type="Parameter"><data shape="?,4" element_type="f32"/>
<output><port id="0" precision="FP32" names="x"><dim>-1</dim><dim>4</dim></port></output></layer>
<layer id="1" name="w" type="Const"><data offset="0" size="80" element_type="f32" shape="4,5"/>
<output><port id="0"><dim>4</dim><dim>5</dim></port></output></layer>
<layer id="2" name="mul" type="MatMul"><output><port id="2" names="y"><dim>-1</dim><dim>5</dim></port></output></layer>
<layer id="3" name="out" type="Result"/>
</layers><edges><edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/></edges></net>
"""


@pytest.mark.parametrize(
    ("config", "xml", "weights", "expected"),
    [
        (OV + CPU, IR, 80, set()),
        (OV, IR, 80, set()),
        (OV + GPU, IR, 80, {"OV-KIND"}),
        (OV + CPU, IR, 79, {"OV-BIN"}),
        (OV + CPU, IR, None, {"OV-BIN"}),
        (OV + CPU, IR[:-20], 80, {"OV-READ"}),
        (OV + CPU, IR.replace('version="11"', 'version="7"'), 80, {"OV-READ"}),
        (OV + CPU, "<net></net>", None, {"OV-READ"}),
        (OV + CPU, "<html></html>", 80, {"OV-READ"}),
        (OV + CPU, "", 80, {"OV-READ"}),
        (OV + CPU, None, 80, {"VDIR-EMPTY"}),
        (OV.replace("4", "3") + CPU, IR, 80, {"OV-DIM"}),
        (OV.replace("[ -1, 4 ]", "[ -1, -1 ]") + CPU, IR, 80, {"OV-DIM"}),
        (OV.replace("[ -1, 4 ]", "[ 2, 4 ]") + CPU, IR, 80, set()),
        (OV.replace('"x"', '"z"') + CPU, IR, 80, {"OV-NAME"}),
        (OV.replace('"y"', '"z"') + CPU, IR, 80, {"OV-NAME"}),
        (OV + X.replace('"x"', '"z"') + CPU, IR, 80, {"OV-CNT", "OV-NAME"}),
        (OV.replace("FP32", "FP64", 1) + CPU, IR, 80, {"OV-TYPE"}),
        (OV + CPU + parameter("NUM_STREAMS", "many"), IR, 80, {"OV-PARAM"}),
        (OV + CPU + parameter("NUM_STREAMS", "Auto"), IR, 80, set()),
        (OV + CPU + parameter("NUM_STREAMS", "00000000000002"), IR, 80, set()),
        (OV + CPU + parameter("NUM_STREAMS", "2147483648"), IR, 80, {"OV-PARAM"}),
        (OV + CPU + parameter("PERFORMANCE_HINT", "FAST"), IR, 80, {"OV-PARAM"}),
        (OV + CPU + parameter("UNKNOWN", "1"), IR, 80, set()),
        ('backend: "openvino"\nmax_batch_size: 8\n' + X + Y + CPU, IR, 80, {"OV-BATCH"}),
        ('backend: "openvino"\nmax_batch_size: 1\n' + X + Y + CPU, IR, 80, set()),
    ],
)
def test_openvino(tmp_path: Path, config: str, xml: str | None, weights: int | None, expected: set[str]) -> None:
    files = {"1/model.xml": xml.encode()} if xml is not None else {}
    folder = lay(tmp_path / "net", config, {**files, **({"1/model.bin": bytes(weights)} if weights else {})})
    assert codes(folder) == expected


def test_openvino_reads_a_saved_model_which_is_a_folder(tmp_path: Path) -> None:
    config = OV + CPU + 'default_model_filename: "saved_model"'
    assert not codes(lay(tmp_path / "net", config, {"1/saved_model/saved_model.pb": b""}))
    assert codes(lay(tmp_path / "xml", OV + CPU, {"1/model.xml/net": b""})) == {"VDIR-EMPTY"}


def test_the_kind_of_openvino_depends_on_the_host(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", OV + "instance_group { count: 2 }", {"1/model.xml": IR, "1/model.bin": bytes(80)})
    assert not codes(folder, host(gpus=0))
    assert codes(folder, host(gpus=None)) == {"OV-AUTO"}
    assert codes(folder, host(gpus=1)) == {"OV-KIND"}


def torchscript(forward: str, name: str = "net/Net", method: str = "forward") -> bytes:
    """Return what torch.jit.save writes, as far as it is read."""
    module, _, own = name.partition("/")
    pickled = b"\x80\x02c__torch__." + module.encode() + b"\n" + own.encode() + b"\nq\x00)\x81q\x01."
    code = "class Sub(Module):\n  def forward(self: __torch__.Sub) -> Tensor:\n    return 1\n"
    code += f"class {own}(Module):\n  training : bool\n  def {method}(self: __torch__.{own}{forward}) -> Tensor:\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr(f"net/code/__torch__/{module.replace('.', '/')}.py", code)
        archive.writestr("net/constants.pkl", pickle.dumps(()))
    return content.getvalue()


PT = 'backend: "pytorch"\n' + X + Y
INDEXED = PT.replace('"x"', '"x__0"').replace('"y"', '"y__0"')
CONTROL = 'sequence_batching { control_input { name: "%s" control { %s } } }'
START = CONTROL % ("%s", "kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]")
CORRID = CONTROL % ("C__1", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_%s")
STATE = 'sequence_batching { state { input_name: "%s" output_name: "%s" data_type: TYPE_FP32 dims: 4 } }'
ONE = torchscript(",\n    x: Tensor")
TWO = torchscript(",\n    a: Tensor,\n    b: Optional[Dict[str, Tensor]]=None", "pkg.___torch_mangle_0/Net")
PAIR = torchscript(",\n    a: Tensor,\n    b: List[str]")
A, B = X.replace('"x"', '"a"'), X.replace('"x"', '"b"')


@pytest.mark.parametrize(
    ("config", "content", "expected"),
    [
        (PT, ONE, set()),
        (PT.replace('"x"', '"INPUT__0"'), ONE, set()),
        (PT, None, {"VDIR-EMPTY"}),
        (PT, b"", {"PT-READ"}),
        (PT, ONE[:-10], {"PT-READ"}),
        (PT, pickle.dumps({"a": 1}), {"PT-READ"}),
        (PT, torchscript("", method="run"), {"PT-FORWARD"}),
        (PT + A, ONE, {"PT-CNT"}),
        (PT, TWO, {"PT-ARG", "PT-CNT", "PT-NAME"}),
        (PT, torchscript(",\n    d: Dict[str, Tensor]"), set()),
        ('backend: "pytorch"\n' + A + B + Y, PAIR, set()),
        ('backend: "pytorch"\n' + A.replace('"a"', '"IN__0"') + B.replace('"b"', '"IN__1"') + Y, PAIR, set()),
        ('backend: "pytorch"\n' + A + X + Y, PAIR, {"PT-NAME"}),
        (PT + Y.replace('"y"', '"z"'), ONE, {"PT-NAME"}),
        ('backend: "pytorch"\n' + X, ONE, {"PT-IO"}),
        (PT.replace("FP32", "BF16", 1), ONE, {"PT-TYPE"}),
        (PT.replace("FP32", "UINT32", 1), ONE, {"PT-TYPE"}),
        (PT.replace("FP32", "STRING", 1), ONE, set()),
        (PT.replace("FP32 dims: 4", "STRING dims: [ 4, 1 ]"), ONE, {"PT-STRING"}),
        ("max_batch_size: 4\n" + PT.replace("FP32", "STRING", 1), ONE, {"PT-STRING"}),
        (PT + parameter("INFERENCE_MODE", "yes"), ONE, {"PT-PARAM"}),
        (PT + parameter("INFERENCE_MODE", "On"), ONE, set()),
        (PT + parameter("INTRA_OP_THREAD_COUNT", "few"), ONE, {"PT-PARAM"}),
        (PT + parameter("INTRA_OP_THREAD_COUNT", "-1"), ONE, set()),
        (PT + parameter("INTRA_OP_THREAD_COUNT", "2147483648"), ONE, {"PT-PARAM"}),
        (PT + START % "START", PAIR, {"PT-CTRL", "PT-NAME"}),
        (PT + START % "START__1", PAIR, {"PT-NAME"}),
        (PT + CORRID % "UINT64", PAIR, {"PT-CTRL", "PT-NAME"}),
        (PT + CORRID % "INT64", PAIR, {"PT-NAME"}),
        (PT + STATE % ("S__1", "S__1"), PAIR, {"PT-STATE", "PT-NAME"}),
        (INDEXED + STATE % ("S__1", "S__1"), PAIR, set()),
        (INDEXED + STATE % ("S", "S__1"), PAIR, {"PT-STATE"}),
    ],
)
def test_torchscript(tmp_path: Path, config: str, content: bytes | None, expected: set[str]) -> None:
    folder = lay(tmp_path / "net", config, {} if content is None else {"1/model.pt": content})
    assert codes(folder) == expected


def test_a_compiled_package_needs_a_newer_release(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", PT + 'platform: "torch_aoti"', {"1/model.pt2": ONE})
    assert codes(folder) == {"PT-READ"}
    (older,) = [each for each in check(folder, [host("26.01"), host("26.03")]) if each.code == "PLAT"]
    assert older.releases == ("26.01",)
    assert older.problem.write.startswith("Serve it with release 26.03 or newer")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"1/model.py": "import torch\n"}, set()),
        ({"1/model.pt": ONE}, set()),
        ({"1/net.py": "import torch\n"}, {"PT-PY"}),
        ({"1/model.py": "def (\n"}, {"PT-PY"}),
        ({}, {"PT-PY"}),
    ],
)
def test_a_module_that_runs_in_python(tmp_path: Path, files: dict[str, Any], expected: set[str]) -> None:
    assert codes(lay(tmp_path / "1", PT + 'runtime: "model.py"', files)) == expected
    named = PT + 'runtime: "model.py" default_model_filename: "net.py"'
    assert codes(lay(tmp_path / "2", named, files)) == (expected if "1/net.py" not in files else set())


def test_a_compiled_package_takes_no_sequences(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", PT + 'platform: "torch_aoti"' + START % "START", {"1/model.pt2": ONE})
    assert "PT-AOTI-SEQ" in codes(folder)


PY = 'backend: "python"\n' + X + Y
CODE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


@pytest.mark.parametrize(
    ("config", "code", "expected"),
    [
        (PY, CODE, set()),
        (PY, None, {"VDIR-EMPTY"}),
        (PY, "", {"PY-CLASS"}),
        (PY, "class Model: pass", {"PY-CLASS"}),
        (PY, "def f():\n    TritonPythonModel = 1\n", {"PY-CLASS"}),
        (PY, "def (", {"PY-SYNTAX"}),
        (PY, "x = 1\0", {"PY-SYNTAX"}),
        (PY, "class TritonPythonModel: pass", {"PY-EXECUTE"}),
        (PY, "class TritonPythonModel(Base): pass", set()),
        (PY, "from net import *", set()),
        (PY, "from net import Net as TritonPythonModel", set()),
        (PY, "TritonPythonModel = make()", set()),
        (PY, "globals()['TritonPythonModel'] = 1", set()),
        (PY, "try:\n  import a\nexcept ImportError:\n  class TritonPythonModel:\n    execute = f\n", set()),
        (PY + parameter("EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY/env.tar.gz"), CODE, {"PY-ENV"}),
        (PY + parameter("EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY/1"), CODE, {"PY-ENV"}),
        (PY + parameter("EXECUTION_ENV_PATH", "/opt/env.tar.gz"), CODE, {"PY-PATH"}),
        (PY + parameter("FORCE_CPU_ONLY_INPUT_TENSORS", "Yes"), CODE, {"PY-FORCE"}),
        (PY + parameter("FORCE_CPU_ONLY_INPUT_TENSORS", "no"), CODE, set()),
    ],
)
def test_python(tmp_path: Path, config: str, code: str | None, expected: set[str]) -> None:
    assert codes(lay(tmp_path / "net", config, {} if code is None else {"1/model.py": code})) == expected


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("net", "my-net.py", set()),
        ("net", "net.v2.py", {"PY-FILE"}),
        ("net", "net.txt", {"PY-FILE"}),
        ("net", "my net.py", {"PY-NAME"}),
        ("my net", "model.py", {"PY-NAME"}),
        ("net's", "model.py", {"PY-NAME"}),
        ("net$HOME", "model.py", {"PY-NAME"}),
        ("net{1,2}", "model.py", {"PY-NAME"}),
        ("net:1=+@%,~", "model.py", set()),
    ],
)
def test_names_of_python_models(tmp_path: Path, name: str, file: str, expected: set[str]) -> None:
    config = f'{PY}default_model_filename: "{file}"'
    assert codes(lay(tmp_path / name, config, {f"1/{file}": CODE})) == expected


def test_a_backend_that_a_release_lacks_is_found(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", 'platform: "tensorflow_savedmodel"\n' + X + Y, {"1/model.savedmodel/x": b""})
    (finding,) = found(folder, host("24.10"), host("26.09"))
    assert (finding.code, finding.releases) == ("TF-GONE", ("26.09",))
    guessed = lay(tmp_path / "guessed", None, {"1/model.savedmodel/x": b""})
    assert {each.code for each in found(guessed)} == {"TF-GONE"}


def test_what_a_backend_never_does_is_found(tmp_path: Path) -> None:
    decoupled = "model_transaction_policy { decoupled: true }"
    optional = X.replace("dims", "optional: true dims")
    torch = lay(tmp_path / "torch", 'backend: "pytorch"\n' + optional + Y + decoupled, {"1/model.pt": ONE})
    assert {each.code for each in found(torch)} == {"DECOUP", "OPTIONAL"}
    python = lay(tmp_path / "python", 'backend: "python"\n' + optional + Y + decoupled, {"1/model.py": CODE})
    assert not found(python)


def test_threads_and_memory_are_compared_with_the_host(tmp_path: Path) -> None:
    config = PY.replace("python", "onnxruntime") + parameter("intra_op_thread_count", "3")
    folder = lay(tmp_path / "net", config + "instance_group { count: 2 kind: KIND_CPU }", {"1/model.onnx": bytes(900)})
    assert {each.code for each in found(folder, host(cores=4, memory=899))} >= {"CPU-THREADS", "MEMORY"}
    assert not {each.code for each in found(folder, host(cores=6, memory=900))} & {"CPU-THREADS", "MEMORY"}
    assert not {each.code for each in found(folder, host())} & {"CPU-THREADS", "MEMORY"}


def test_every_rule_has_a_code_of_its_own_and_a_source_or_was_seen() -> None:
    known = rules()
    assert len({rule.code for rule in known}) == len(known)
    assert not [rule.code for rule in known if rule.decided_by != "core" and not rule.seen and not rule.source]


@pytest.mark.parametrize(
    ("backend", "file"), [("onnxruntime", "model.onnx"), ("pytorch", "model.pt"), ("openvino", "model.xml")]
)
def test_a_pointer_of_git_lfs_is_fetched(backend: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/config.pbtxt").write_text(f'backend: "{backend}"')
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"
    (tmp_path / "net/1" / file).write_text(pointer)
    advice = [each.problem.write for each in check(tmp_path) if each.code.endswith("-READ")]
    assert advice == ["Fetch the file itself: git lfs pull"]
