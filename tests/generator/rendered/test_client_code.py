"""The client that is rendered for a model: its text, its validity for any name, and that it works."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from modelrepo.clients import connect
from modelrepo.generator.errors import OptionError
from modelrepo.generator.rendered import client_code
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.triton import pbtxt
from modelrepo.server import running_server
from tests.conftest import PROJECT
from tests.served_models import WEIGHTS, write_for_kinds, write_repository

IMAGE = {
    "kind": "image", "resize": 256, "crop": [224, 224], "interpolation": "bilinear", "scale": [0.0, 1.0],
    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": "NCHW",
}  # fmt: skip
CLASSIFIER = """
max_batch_size: 8
input { name: "input" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] }
output { name: "output" data_type: TYPE_FP32 dims: [ 1000 ] label_filename: "labels.txt" }
"""
# What is no identifier, a keyword, a builtin, the same after it was changed, or can't stand in a string as it is.
NAMES = [
    "class", "class_", "Class", "input", "a b", "a.b", "", "0", "\u0430", "l" * 300, "y z " * 60, "\n\\\"'", "{{ x }}",
    "client", "given", "answer", "np", "l", "None", "self", "returns", "Args", "'", "\U0001f44d" * 100, '"""',
    "version",
]  # fmt: skip
KINDS = list(client_code.NUMPY)


def manifest(name: str, config: str, preprocess: dict[str, Any] | None = None) -> Manifest:
    source = SourceRecord("torchvision:x", Weights("random", "seed 0", True), preprocess, "torch", 18, 10, ())
    provenance = Provenance("key", source, {}, {}, Verification())
    return Manifest(name, 1, "onnx", "2026-11-20", 8, f'name: "{name}"\n{config}', {}, provenance)


def tensors(names: list[str]) -> str:
    """Return a configuration with every name as input and output, of every datatype in turn, every third optional."""
    text = "max_batch_size: 0\n"
    for number, name in enumerate(names):
        quoted, kind = pbtxt.quote(name), KINDS[number % len(KINDS)]
        optional = "optional: true" if number % 3 == 2 else ""
        text += f"input {{ name: {quoted} data_type: TYPE_{kind} dims: [ -1, 2 ] {optional} }}\n"
        text += f"output {{ name: {quoted} data_type: TYPE_{kind} dims: [ 4 ] }}\n"
    return text


def check_sound(folder: Path) -> None:
    """Check that ruff finds nothing, and that Python compiles it."""
    options = ["--no-cache", "--config", str(PROJECT / "pyproject.toml")]
    run = subprocess.run([sys.executable, "-m", "ruff", "check", *options, folder], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    for file in folder.glob("*.py"):
        compile(file.read_text(), file.name, "exec")


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


def test_the_client_of_an_image_classifier(golden: Callable[[str, str], None]) -> None:
    golden("clients/resnet50.py.txt", client_code.render(manifest("resnet50", CLASSIFIER, IMAGE)))


def test_clients_are_valid_whatever_the_names(tmp_path: Path) -> None:
    client_code.write(manifest("resnet50", CLASSIFIER, IMAGE), tmp_path)
    client_code.write(manifest("hostile-names", tensors(NAMES)), tmp_path)
    client_code.write(manifest("X" * 250, tensors(["x"])), tmp_path)
    check_sound(tmp_path)
    module = loaded(tmp_path / client_code.module_name("hostile-names"))
    given = np.zeros((1, 2))
    asked: dict[str, Any] = {}

    class Recorder:
        def infer(self, model: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
            asked.update(model=model, inputs=list(inputs), **more)
            return {name: number for number, name in enumerate(NAMES)}

    required = [name for number, name in enumerate(NAMES) if number % 3 != 2]
    answer = module.infer(Recorder(), *[given] * len(required), version="3")
    assert asked == {"model": "hostile-names", "inputs": required, "version": "3", "deadline": None}
    assert list(vars(answer).values()) == list(range(len(NAMES)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=4, unique=True))
def test_any_names_make_a_module_that_compiles(names: list[str]) -> None:
    text = client_code.render(manifest("m", tensors(names)))
    compile(text, "m.py", "exec")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 120


def test_a_client_is_written_once_and_again_when_the_model_changes(tmp_path: Path) -> None:
    path = client_code.write(manifest("m", CLASSIFIER), tmp_path / "clients")
    assert path.name == "m.py"
    written = path.stat()
    assert client_code.write(manifest("m", CLASSIFIER), tmp_path / "clients").stat().st_mtime_ns == written.st_mtime_ns
    changed = client_code.write(manifest("m", CLASSIFIER.replace("1000", "10")), tmp_path / "clients")
    assert "batch of 1 to 8, 10]" in changed.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["m.py"]


def test_models_whose_names_python_cannot_import_have_files_of_their_own() -> None:
    names = ["a-b", "a.b", "a_b", "A_b", "class", "1"]
    files = {client_code.module_name(name) for name in names}
    assert len(files) == len(names)
    assert "a_b.py" in files
    assert all(Path(file).stem.isidentifier() for file in files)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="can't write the client"):
        client_code.write(manifest("m", CLASSIFIER), tmp_path / "file")


def test_a_model_of_sequences_gets_no_client_since_ours_sends_none(tmp_path: Path) -> None:
    config = f"{CLASSIFIER} sequence_batching {{ }}"
    with pytest.raises(OptionError, match="its requests belong to sequences, which our clients don't send"):
        client_code.write(manifest("m", config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_client_of_a_model_that_takes_what_clients_have(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    repository = write_for_kinds(tmp_path / "repository")
    for name in ("means", "words"):
        config = (repository / name / "config.pbtxt").read_text().partition("\n")[2]
        made = client_code.write(manifest(name, config, IMAGE), tmp_path / "clients")
        golden(f"clients/{name}.py.txt", made.read_text())
    check_sound(tmp_path / "clients")
    means, words = (loaded(tmp_path / f"clients/{name}.py") for name in ("means", "words"))
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 9), (200, 1, 2)).save(picture)
    with running_server(repository) as server, connect(server.grpc_url) as client:
        assert means.infer(client, picture).means.tolist() == [[200, 1, 2]]
        assert means.infer(client, [picture, picture]).means.shape == (2, 3)
        assert means.classify(client, picture.read_bytes(), top=1)[0][0].label == "red"
        assert words.infer(client, "a text").echoed.tolist() == [[b"a text"]]
        assert words.infer(client, ["", b"b\0"]).echoed.tolist() == [[b""], [b"b\0"]]


def test_any_kinds_and_options_make_a_module_that_compiles(tmp_path: Path) -> None:
    kinds = "a=pixels,b=text,c=encoded image"
    config = f'max_batch_size: 0\nparameters {{ key: "input_kinds" value: {{ string_value: "{kinds}" }} }}\n'
    for optional in ("", "optional: true"):
        for name, kind in (("a", "UINT8"), ("b", "STRING"), ("c", "STRING")):
            given = f'input {{ name: "{name}" data_type: TYPE_{kind} dims: [ -1, -1, 3 ] {optional} }}\n'
            given += 'output { name: "x" data_type: TYPE_BF16 dims: [ 1 ] }\n'
            client_code.write(manifest(f"m_{name}_{bool(optional)}", config + given), tmp_path)
    check_sound(tmp_path)


def test_a_rendered_client_asks_a_served_model(tmp_path: Path) -> None:
    repository = write_repository(tmp_path / "repository")
    for name in ("linear", "join"):
        config = (repository / name / "config.pbtxt").read_text().partition("\n")[2]
        client_code.write(manifest(name, config), tmp_path / "clients")
    linear, join = (loaded(tmp_path / f"clients/{name}.py") for name in ("linear", "join"))
    with running_server(repository) as server, connect(server.grpc_url) as client:
        answer = linear.infer(client, np.ones((1, 4), "float32"))
        np.testing.assert_allclose(answer.output[0], WEIGHTS.sum(0))
        assert linear.classify(client, np.ones((1, 4), "float32"), top=1)[0][0].label == "a: fish"
        both = join.infer(client, left=np.ones((1, 2), "float32"), right=np.ones((1, 2), "float32"), deadline=5)
        assert (both.sum_.tolist(), both.difference.tolist()) == ([[2, 2]], [[0, 0]])
