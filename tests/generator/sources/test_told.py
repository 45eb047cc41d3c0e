"""A file or folder without a scheme is told by its content, or refused with the command to type."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from modelrepo.generator import sources
from modelrepo.generator.errors import SourceError
from modelrepo.generator.options.config_file import ConfigFile, load_config
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.sources import registered, weights_file
from modelrepo.generator.sources.torchvision.tasks import task_of
from modelrepo.generator.sources.weights_file import fingerprint, fitting, tensors
from tests.conftest import Generate, assert_refused
from tests.generator.sources.test_formats import FILES, STATE, zipped

XGBOOST = b'{"learner": {"attributes": {}}, "version": [3, 0, 0]}'
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\n"
BERT = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()
# The content of files, by the name that they are given: a suffix that says something else, mostly.
TOLD = {
    "net.onnx": ("onnx", FILES["onnx"]),
    "net.pth": ("onnx", FILES["onnx"]),
    "net.pt2": ("torch", FILES["pt2"]),
    "net.pt": ("torchscript", FILES["torchscript"]),
    "net.keras": ("keras", FILES["keras"]),
    "net.h5": ("keras", FILES["hdf5"]),
    "net.tflite": ("tflite", FILES["tflite"]),
    "net.skops": ("sklearn", FILES["skops"]),
    "net": ("sklearn", FILES["pickle"]),
    "net.json": ("sklearn", XGBOOST),
    "net.ubj": ("sklearn", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{"),
    "net.txt": ("sklearn", LIGHTGBM),
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("folder", ["", "./", "deep/er/"])
def test_a_file_is_what_its_content_is(name: str, folder: str, workdir: Path) -> None:
    scheme, content = TOLD[name]
    written(f"{folder}{name}", content)
    told = sources.taken(f"{folder}{name}")
    assert told.reference == f"{scheme}:{folder}{name}"
    assert told.remark.startswith(f"{folder}{name} is a")
    assert told.remark.endswith(told.reference)
    assert sources.taken(told.reference).remark == ""


# Folders by their files; the scheme that each is found to be, and the file in it, if it is that.
FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "a SavedModel": ({"saved_model.pb": FILES["saved_model.pb"], "fingerprint.pb": b"\x08\x01"}, "savedmodel:net"),
    "a folder of transformers": ({"config.json": BERT, "model.safetensors": FILES["safetensors"]}, "hf:net"),
    "one with the states of training": (
        {"config.json": BERT, "pytorch_model.bin": FILES["state dict"], "training_args.bin": FILES["torch module"]},
        "hf:net",
    ),
    "one without weights": ({"config.json": BERT, "tokenizer.json": b'{"version": "1.0"}'}, "hf:net"),
    "one of sentence-transformers": ({"modules.json": b"[]", "1_Pooling/config.json": b"{}"}, "hf:net"),
    "one exported to ONNX": ({"config.json": BERT, "model.onnx": FILES["onnx"]}, "onnx:net/model.onnx"),
    "one file among others": (
        {"net.onnx": FILES["onnx"], "net.onnx.data": bytes(8), "README.md": b"words"},
        "onnx:net/net.onnx",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_what_lies_in_it(case: str, workdir: Path) -> None:
    files, reference = FOLDERS[case]
    for name, content in files.items():
        written(f"net/{name}", content)
    assert sources.taken("net").reference == reference
    assert sources.find("net")[1] == reference.partition(":")[2]


def entry(name: str, *sizes: int) -> bytes:
    """Return the opcodes of a tensor in a state dict, as torch writes it."""
    text = b"X" + len(name).to_bytes(4, "little") + name.encode()
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    shape = b"(" + b"".join(b"J" + size.to_bytes(4, "little") for size in sizes) + b"t"
    return text + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b")\x89}tR"


def state(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> bytes:
    """Return a file of torch.save with a state dict of these tensors."""
    entries = b"".join(entry(f"{prefix}{name}", *sizes) for name, sizes in shapes.items())
    return zipped("state/data.pkl", content=b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u.")


OWN = {"fc1.weight": (32, 64), "fc1.bias": (32,)}
OBJECT = b"cultralytics.nn.tasks\nDetectionModel\n)\x81}b"
OTHERS = b"cargparse\nNamespace\n)\x81}b"


def checkpoint(content: bytes) -> bytes:
    """Return a file of torch.save with a dictionary of these keys and values."""
    return zipped("state/data.pkl", content=b"\x80\x02}(" + content + b"u.")


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


REFUSED: dict[str, dict[str, bytes]] = {
    "yolo.pt": {"yolo.pt": checkpoint(text("epoch") + b"K\x01" + text("model") + OBJECT)},
    "whole.ckpt": {"whole.ckpt": checkpoint(text("network") + OTHERS)},
    "args.pth": {"args.pth": checkpoint(text("args") + OTHERS + text("model") + b"}(" + entry("w", 2, 3) + b"u")},
    "list.pth": {"list.pth": zipped("state/data.pkl", content=b"\x80\x02]K\x01a.")},
    "digits.pth": {"digits.pth": b""},  # filled below: the tensors of a network of torchvision
    "own.pth": {"own.pth": state(OWN)},
    "own.safetensors": {"own.safetensors": FILES["safetensors"]},
    "module.pt": {"module.pt": FILES["torch module"]},
    "bert/model.safetensors": {"bert/model.safetensors": FILES["safetensors"], "bert/config.json": BERT},
    "timm/model.safetensors": {
        "timm/model.safetensors": FILES["safetensors"],
        "timm/config.json": b'{"architecture": "convnext_atto"}',
    },
    "saved/saved_model.pb": {"saved/saved_model.pb": FILES["saved_model.pb"]},
    "saved/variables": {"saved/saved_model.pb": FILES["saved_model.pb"], "saved/variables/a.index": b"\x00\xff"},
    "frozen.pb": {"frozen.pb": FILES["graph"]},
    "frozen.pbtxt": {"frozen.pbtxt": b'node {\n  name: "x"\n}\n'},
    "saved/variables/variables.index": {
        "saved/saved_model.pb": FILES["saved_model.pb"],
        "saved/variables/variables.index": b"\x00\xff",
    },
    "bert/config.json": {"bert/config.json": BERT},
    "net.onnx.data": {"net.onnx": FILES["onnx"], "net.onnx.data": b"\x00\xff"},
    "photos": {"photos/1.jpg": b"\xff\xd8\xff\xe0"},
    "ck-1.index": {"ck-1.index": b"\x00\xff\xfe"},
    "ckpt": {"ckpt/checkpoint": b'model_checkpoint_path: "ck-1"', "ckpt/ck-1.index": b"\x00\xff"},
    "nets.py": {"nets.py": b"class Net(nn.Module): pass\ndef net(): pass\ndef _own(): pass\ndef needs(a): pass\n"},
    "deep/nets.py": {"deep/nets.py": b"def net(a=1, *, b=2): pass\n"},
    "empty.py": {"empty.py": b"import torch\n"},
    "broken.py": {"broken.py": b"def net(:\n"},
    "table.csv": {"table.csv": b"a,b\n1,2\n"},
    "table.parquet": {"table.parquet": b"PAR1\x15\x04"},
    "x.npz": {"x.npz": FILES["arrays"]},
    "photo.jpg": {"photo.jpg": b"\xff\xd8\xff\xe0"},
    "net.plan": {"net.plan": FILES["plan"]},
    "net.gguf": {"net.gguf": FILES["gguf"]},
    "net.cbm": {"net.cbm": b"CBM1\x00\x00"},
    "net.xml": {"net.xml": b'<?xml version="1.0"?>\n<net name="x" version="11">'},
    "net.zip": {"net.zip": zipped("a/net.onnx")},
    "net.ipynb": {"net.ipynb": b'{"cells": []}'},
    "tokenizer.json": {"tokenizer.json": b'{"version": "1.0", "model": {}}'},
    "text.keras": {"text.keras": b"words"},
    "garbage.onnx": {"garbage.onnx": bytes(range(256))},
    "empty.onnx": {"empty.onnx": b""},
    "modelrepo.toml": {"modelrepo.toml": b"seed = 1\n"},
    "both": {"both/config.json": BERT, "both/saved_model.pb": FILES["saved_model.pb"]},
    "hf-and-onnx": {
        "hf-and-onnx/config.json": BERT,
        "hf-and-onnx/model.safetensors": FILES["safetensors"],
        "hf-and-onnx/model.onnx": FILES["onnx"],
    },
    "two": {"two/a.onnx": FILES["onnx"], "two/b.onnx": FILES["onnx"]},
    "exported": {"exported/net.onnx": FILES["onnx"], "exported/net.pth": state(OWN)},
    "weights": {"weights/net.pth": state(OWN)},
    "triton": {"triton/config.pbtxt": b"", "triton/1/model.onnx": FILES["onnx"], "triton/10/model.onnx": FILES["onnx"]},
    "repository": {"repository/a/config.pbtxt": b"", "repository/a/1/model.onnx": FILES["onnx"]},
    "versions": {"versions/1/saved_model.pb": FILES["saved_model.pb"]},
    "mlflow": {"mlflow/MLmodel": b"flavors: {}\n", "mlflow/data/model.keras": FILES["keras"]},
    "diffusers": {"diffusers/model_index.json": b"{}"},
    "unpacked": {
        "unpacked/config.json": b"{}",
        "unpacked/metadata.json": b"{}",
        "unpacked/model.weights.h5": FILES["hdf5"],
    },
    "nothing": {"nothing/.keep": b""},
    "missing.onnx": {"missin.onnx": FILES["onnx"]},
    "nowhere/net.onnx": {},
    "org/name": {},
    "onx:net.onnx": {},
    "nets:net": {"nets.py": b""},
    "https://example.org/net.onnx": {},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_by_itself_is_refused_with_the_command_to_type(
    case: str, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    for name, content in REFUSED[case].items():
        written(name, content or (digits() if name == "digits.pth" else b""))
    with pytest.raises(SourceError) as caught:
        sources.find(case)
    assert "\n" not in str(caught.value)
    golden(f"messages/told/{case.replace('/', '-').replace(':', '-')}.txt", f"{caught.value}\n")


def digits(prefix: str = "") -> bytes:
    """Return the state dict of torchvision's smallest old network, for 10 classes."""
    return state(squeezenet(classes=10), prefix)


def squeezenet(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of torchvision.models.squeezenet1_1."""
    fires = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
    fires |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
    shapes = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
    for place, (taken, squeezed, expanded) in fires.items():
        for part, shape in (
            ("squeeze", (squeezed, taken, 1, 1)),
            ("expand1x1", (expanded, squeezed, 1, 1)),
            ("expand3x3", (expanded, squeezed, 3, 3)),
        ):
            shapes |= {f"features.{place}.{part}.weight": shape, f"features.{place}.{part}.bias": shape[:1]}
    return {**shapes, "classifier.1.weight": (classes, 512, 1, 1), "classifier.1.bias": (classes,)}


def written(name: str, content: bytes) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)


def test_weights_are_told_without_loading_them_and_for_any_number_of_classes(workdir: Path) -> None:
    written("digits.pth", digits())
    assert tensors(Path("digits.pth"), safe=False) == squeezenet(10)
    for classes in (2, 10, 1000):
        assert fitting(squeezenet(classes)) == ("squeezenet1_1",)
    assert fitting({**squeezenet(10), "features.0.weight": (64, 1, 3, 3)}) == ()


def test_the_prefix_of_what_keeps_a_network_alone_is_taken_off(workdir: Path) -> None:
    for prefix in ("module.", "model.", "net."):
        written("digits.pth", digits(prefix))
        assert fitting(tensors(Path("digits.pth"), safe=False)) == ("squeezenet1_1",)


def test_a_pickle_that_torch_does_not_write_has_no_tensors(workdir: Path) -> None:
    for content in (zipped("state/data.pkl", content=STATE), pickle.dumps([1]), b"\x80\x02K", b""):
        written("state.pth", content)
        assert tensors(Path("state.pth"), safe=False) == {}


def test_the_tensors_are_those_that_torch_writes(workdir: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(3, 4))
    shapes = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 1, 5, 5)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "model_state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}
    for number, saved in enumerate((network.state_dict(), checkpoint, dict(network.named_parameters()))):
        for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
            torch.save(saved, "state.pth", **options)
            found = tensors(Path("state.pth"), safe=False)
            assert found == {name: shape for name, shape in shapes.items() if number < 2 or name in saved}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "fcn_resnet50", "raft_small"])
def test_networks_are_told_by_the_tensors_that_torchvision_gives_them(name: str) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        shapes = shapes_of(name, models)
    assert name in fitting(shapes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of inception and googlenet, on their initial weights
def test_the_table_has_every_network_of_torchvision(request: pytest.FixtureRequest) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision").models
    found: dict[str, list[str]] = {}
    for name in models.list_models():
        # regnets compute with tensors where they are built
        with torch.device("meta") if not name.startswith("regnet") else torch.no_grad():
            found.setdefault(fingerprint(shapes_of(name, models)), []).append(name)
    # the float networks of the quantized ones are those of the others
    plain = {digest: [each for each in names if not each.startswith("quantized_")] for digest, names in found.items()}
    text = "".join(sorted((f"{digest} {' '.join(names)}\n" for digest, names in plain.items() if names), key=by_name))
    if request.config.getoption("--update-goldens"):
        weights_file.NETWORKS.write_text(text, "utf-8")
    assert weights_file.NETWORKS.read_text("utf-8") == text


def shapes_of(name: str, models: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that torchvision gives a network."""
    task = task_of(name, models)
    assert task is not None
    network = models.get_model(name, weights=None, **task.arguments(name))
    return {key: tuple(each.shape) for key, each in network.state_dict().items()}


def by_name(line: str) -> str:
    return line.partition(" ")[2]


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_the_names_in_a_librarys_source_are_those_that_it_registers(package: str) -> None:
    library = pytest.importorskip("torchvision.models" if package == "torchvision" else package)
    assert registered.names(package) == set(library.list_models())


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("torchvision:net.onnx", "It is an ONNX file: --model onnx:net.onnx"),
        ("timm:net.onnx", "It is an ONNX file: --model onnx:net.onnx"),
        ("hf:net.onnx", "It is an ONNX file: --model onnx:net.onnx"),
        ("torchvision:bert", "It is a folder with a model: --model hf:bert"),
        ("python:nets.py", "It is a Python file: name the function or class that makes the model. --model "
         "python:nets:net"),
        ("python:nets.py:net", "Name it as Python imports it: python:nets:net"),
        ("resnet5", "Did you mean resnet50 or resnet152 or resnet34?"),
        ("net", "Did you mean net.onnx?"),
        ("timm:resnet5", "Did you mean resnet"),
        ("nothing_like_it", "`modelrepo models` lists the names"),
        ("convnext_atto", "timm has it: --model timm:convnext_atto"),
    ],
)  # fmt: skip
def test_the_wrong_scheme_or_name_is_answered_with_the_right_one(reference: str, hint: str, generate: Generate) -> None:
    written("net.onnx", FILES["onnx"])
    written("bert/config.json", BERT)
    written("nets.py", b"def net(): pass\n")
    start = perf_counter()
    assert_refused(generate("--model", reference, "--dry-run"), 3, hint)
    assert perf_counter() - start < 60  # no framework is imported


def test_a_name_of_torchvision_wins_over_a_folder_and_a_warning_says_so(generate: Generate) -> None:
    written("resnet50/net.onnx", FILES["onnx"])
    assert sources.find("resnet50")[0] is sources.SOURCES["torchvision"]
    assert sources.find("./resnet50") == (sources.SOURCES["onnx"], "resnet50/net.onnx")
    outcome = generate("--model", "resnet50", "--weights", "random", "--dry-run")
    assert "warning: resnet50 is taken as torchvision's model; --model ./resnet50 is what lies here" in outcome.err


def test_a_table_of_modelrepo_toml_wins_over_a_file(workdir: Path) -> None:
    written("net.onnx", FILES["onnx"])
    file = ConfigFile(models={"net.onnx": {"model": "torchvision:resnet18"}})
    name, options = resolve({}, file, "net.onnx")
    assert (name, options.model) == ("net.onnx", "torchvision:resnet18")


@pytest.mark.parametrize("model", ["net.onnx", "./net.onnx", "onnx:net.onnx"])
def test_a_path_in_modelrepo_toml_is_relative_to_it(model: str, workdir: Path) -> None:
    written("conf/net.onnx", FILES["onnx"])
    written("conf/m.toml", f'[models.mine]\nmodel = "{model}"\n'.encode())
    name, options = resolve({}, load_config(Path("conf/m.toml")), "mine")
    assert (name, options.model) == ("mine", "onnx:conf/net.onnx")


def test_a_name_in_modelrepo_toml_stays_a_name(workdir: Path) -> None:
    written("conf/resnet18/net.onnx", FILES["onnx"])
    written("conf/m.toml", b'[models.mine]\nmodel = "resnet18"\n')
    assert resolve({}, load_config(Path("conf/m.toml")), "mine")[1].model == "resnet18"


def test_without_its_scheme_a_file_is_published_as_with_it(generate: Generate) -> None:
    written("net.onnx", FILES["onnx"])
    first = generate("--model", "net.onnx", "--json")
    assert first.code == 0, first.err
    assert "net.onnx is an ONNX file: onnx:net.onnx" in first.err
    (row,) = json.loads(generate("--model", "onnx:net.onnx", "--json").out)["results"]
    assert (row["name"], row["version"], row["status"]) == ("net", 1, "unchanged")


def test_a_file_that_can_not_be_used_fails_alone(generate: Generate) -> None:
    written("net.onnx", FILES["onnx"])
    written("own.pth", state(OWN))
    outcome = generate("--model", "own.pth", "--model", "gone/away.onnx", "--model", "net.onnx", "--json")
    assert outcome.code == 3
    rows = {row["name"]: row["status"] for row in json.loads(outcome.out)["results"]}
    assert rows == {"own": "failed", "away": "failed", "net": "published"}


def test_an_option_without_effect_is_refused_as_with_the_scheme(generate: Generate) -> None:
    written("net.onnx", FILES["onnx"])
    outcome = generate("--model", "net.onnx", "--trust-source")
    assert_refused(outcome, 2, "--trust-source has no effect on onnx:net.onnx. It applies to: ")


@pytest.mark.parametrize("kind", ["dangling", "pipe", "device", "loop"])
def test_what_is_not_a_file_gets_one_line(kind: str, generate: Generate) -> None:
    path = Path("/dev/null") if kind == "device" else Path("net.onnx")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind != "device":
        path.symlink_to("gone.onnx" if kind == "dangling" else path)
    said = {"dangling": "a link to gone.onnx, which does not exist", "loop": "can't read net.onnx"}
    assert_refused(generate("--model", str(path)), 3, said.get(kind, "is not a file"))


def test_a_name_with_a_space_is_quoted_in_the_command(workdir: Path) -> None:
    written("my net.pth", digits())
    with pytest.raises(SourceError, match=r"--model squeezenet1_1 --weights 'my net.pth'"):
        sources.find("my net.pth")


@pytest.mark.parametrize("saved", [{"model": 1}, [1], np.zeros(3)])
def test_a_pickle_of_something_else_is_refused_before_it_must_be_trusted(saved: object, generate: Generate) -> None:
    pytest.importorskip("sklearn")
    written("net.pkl", pickle.dumps(saved))
    message = "not of an estimator. Save the fitted estimator alone"
    assert_refused(generate("--model", "sklearn:net.pkl"), 3, message)
    assert message in generate("--model", "net.pkl").err


def test_a_pickle_is_refused_with_the_whole_command(generate: Generate) -> None:
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression

    written("net.joblib", pickle.dumps(LinearRegression().fit(np.eye(3), np.arange(3))))
    refused = generate("--model", "net.joblib")
    assert "If you trust who made it: --model sklearn:net.joblib --trust-source" in refused.err
    assert refused.code == 3


def test_a_large_folder_is_looked_through_quickly(workdir: Path) -> None:
    Path("photos").mkdir()
    for number in range(1000):
        Path(f"photos/{number}.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SourceError, match="photos is a folder without a model"):
        sources.find("photos")


def test_an_empty_name_is_refused(workdir: Path) -> None:
    written("net.onnx", FILES["onnx"])
    with pytest.raises(SourceError, match="the name of the model is empty"):
        sources.find("")
