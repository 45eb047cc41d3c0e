"""What is staged beside a model stays out of the published one, whatever the model is called."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Generate


@pytest.mark.parametrize("name", ["onnx", "variants", "exports"])
def test_a_model_may_have_the_name_of_a_form(generate: Generate, workdir: Path, name: str) -> None:
    shutil.copy(PROJECT / "tests/data/published_before/linear.onnx", f"{name}.onnx")
    outcome = generate("--model", f"onnx:{name}.onnx", "--json", "-q")
    assert outcome.result["status"] == "published", outcome.err
    published = workdir / "model_repository" / name
    assert {file.relative_to(published).as_posix() for file in published.rglob("*") if file.is_file()} == {
        "1/model.onnx",
        "config.pbtxt",
    }
