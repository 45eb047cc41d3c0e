"""A new source is a module and a row of a table: a made-up one is taken from a reference to a published version."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.cli.commands.models import models
from modelrepo.generator.errors import ConversionError, SourceError
from modelrepo.generator.export import EXPORTERS, exporter_of
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.specs.artifacts import ONNX, Export, Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.system.extras import Extra
from tests.conftest import PROJECT, Generate, ModelRepo, assert_refused

# --- the module of a made-up source: linear models as JSON, [[weight, ...], ...]


def files(name: str) -> tuple[Path, ...]:
    if not path_of(name).is_file():
        raise SourceError(f"there is no file {name}")
    return (path_of(name),)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    (path,) = files(name)
    matrix = np.array(json.loads(path.read_text()), "float32")

    def run(arrays: Arrays) -> dict[str, Any]:
        return {"y": arrays["x"] @ matrix}

    return SourceModel(
        reference=f"toy:{path.name}",
        framework="toy",
        native=matrix,
        inputs=(TensorSpec("x", "float32", ("batch", len(matrix))),),
        output_names=("y",),
        run=run,
        weights=Weights("file", path.name, untrained=False),
    )


SOURCE = file_source(form="toy:FILE", summary="linear models", frameworks=("toy",), load=load, files=files)

# --- the module of its exporter


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    matrix: Array = source.native
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "matrix"], ["y"])],
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", matrix.shape[0]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", matrix.shape[1]))],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return Export(path, (path,), onnx_file.read_signature(graph), "toy", 20, 10)


TO_ONNX = Exporter(export=export, packages=())

# --- the two rows


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    monkeypatch.setitem(SOURCES, "toy", SOURCE)
    monkeypatch.setitem(EXPORTERS, ("toy", ONNX), TO_ONNX)
    (workdir / "sums.json").write_text("[[1, 0], [1, 0], [0, 1]]")


@pytest.mark.usefixtures("toy")
def test_its_models_are_published(generate: Generate, workdir: Path) -> None:
    outcome = generate("--model", "toy:sums.json", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert (outcome.result["status"], outcome.result["name"]) == ("published", "sums")
    assert (workdir / "model_repository/sums/1/model.onnx").exists()
    assert 'name: "x"' in (workdir / "model_repository/sums/config.pbtxt").read_text()


@pytest.mark.usefixtures("toy")
def test_a_model_is_published_again_only_if_its_file_changes(generate: Generate, workdir: Path) -> None:
    command = ("--model", "toy:sums.json", "--json", "-q")
    generate(*command)
    assert generate(*command).result["status"] == "unchanged"
    (workdir / "sums.json").write_text("[[2, 0], [1, 0], [0, 1]]")
    assert generate(*command).result["version"] == 2


@pytest.mark.usefixtures("toy")
def test_a_path_in_modelrepo_toml_is_relative_to_that_file(generate: Generate, workdir: Path) -> None:
    (workdir / "sub").mkdir()
    (workdir / "sums.json").rename(workdir / "sub/sums.json")
    (workdir / "sub/modelrepo.toml").write_text('[models.sums]\nmodel = "toy:sums.json"\n')
    outcome = generate("--config", "sub/modelrepo.toml", "--json", "-q")
    assert outcome.result["status"] == "published", outcome.err


@pytest.mark.usefixtures("toy")
def test_an_option_that_has_no_effect_on_it_is_refused(generate: Generate) -> None:
    outcome = generate("--model", "toy:sums.json", "--weights", "random")
    assert_refused(outcome, 2, "--weights")


@pytest.mark.usefixtures("toy")
def test_modelrepo_models_lists_it(modelrepo: ModelRepo) -> None:
    (row,) = (line for line in modelrepo(models).out.splitlines() if line.startswith("toy:"))
    assert row.split() == ["toy:FILE", "linear", "models", "-", "-"]


def test_an_extra_that_is_missing_is_named_by_its_row(modelrepo: ModelRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "toy", replace(SOURCE, extras=(Extra("toy", ("toys",)),)))
    (row,) = (line for line in modelrepo(models).out.splitlines() if line.startswith("toy:"))
    assert row.endswith("pip install 'modelrepo[toy]'")


def test_a_framework_without_an_exporter_to_a_form_is_refused() -> None:
    with pytest.raises(ConversionError, match="can't export a sklearn model as torchscript") as caught:
        exporter_of("sklearn", "torchscript")
    assert caught.value.hint == "It can be exported as onnx"


def test_every_extra_of_a_source_is_an_extra_of_the_project() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {extra.name for source in SOURCES.values() for extra in source.extras} <= set(extras)


def test_every_framework_of_a_source_has_an_exporter_to_onnx() -> None:
    for source in SOURCES.values():
        assert all(exporter_of(framework, ONNX) for framework in source.frameworks)
