"""A new precision is a module and a row of a table: a made-up one is taken through `generate`."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.optimize import RECIPES, fp16
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.verification import comparison
from tests.conftest import Generate


def lower(request: Request) -> Lowered:
    """Lower nothing: FP32 under a different name."""
    request.folder.mkdir(parents=True)
    path = request.folder / "model.onnx"
    shutil.copy(request.export.path, path)
    return Lowered(replace(request.export, path=path, files=(path,)), "0 of 1 weights changed", ("MatMul",))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, numpy_models: None) -> None:
    module = ModuleType("toy_precision")
    module.RECIPE = Recipe(lower, fp16.costs, precision=comparison.FP16, max_accuracy_drop=0.01)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_precision", module)
    monkeypatch.setitem(RECIPES, "toy", "toy_precision")
    served = replace(BACKENDS["onnx"], precisions=(*BACKENDS["onnx"].precisions, "toy"))
    monkeypatch.setitem(BACKENDS, "onnx", served)


@pytest.mark.usefixtures("toy")
def test_it_is_made_verified_and_published_under_its_name(generate: Generate, workdir: Path) -> None:
    outcome = generate("--model", "numpy:linear", "--backends", "onnx:toy", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert (outcome.result["name"], outcome.result["precision"]) == ("linear_toy", "toy")
    assert outcome.result["optimization"]["done"] == ["0 of 1 weights changed"]
    assert outcome.result["verification"]["passed"]
    assert (workdir / "model_repository/linear_toy/1/model.onnx").is_file()
