"""A new backend is a module and a row of a table: made-up ones are taken from a source to a published version."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import Answers, Backend, Form
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.options.resolve import default_options
from modelrepo.generator.specs.artifacts import Artifact, Export, Order, Serving, Settings
from modelrepo.generator.specs.options import Instances, Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from tests.conftest import Generate, assert_refused

LINEAR = ("--model", "numpy:linear", "--json", "-q")

# --- the module of a backend that is made from ONNX: it serves the file under a name of its own


def settings(serving: Serving) -> Settings:
    return Settings(parameters={"THREADS": "1"})


def build(order: Order) -> Artifact:
    return Artifact({"network.toy": order.export.path})


TOY = Backend(
    triton_name="toy",
    precisions=("fp32", "fp16"),
    settings=settings,
    build=build,
    instances=Instances("KIND_CPU", 2),
    preferred_batch_sizes=lambda largest: (largest // 4,),
)

# --- the module of a backend that is made from a form of its own: a matrix in a .npy


def open_matrix(path: Path) -> Answers:
    matrix = np.load(path)

    def run(arrays: Arrays) -> dict[str, Any]:
        return {"output": arrays["input"] @ matrix}

    return run


def export_matrix(source: SourceModel, folder: Path, options: Options) -> Export:
    _, weights = source.native
    folder.mkdir()
    path = folder / "model.npy"
    np.save(path, weights)
    signature = Signature(source.inputs, (TensorSpec("output", "float32", ("batch", 3)),))
    return Export(path, (path,), signature, "toy", 0, 0)


def build_matrix(order: Order) -> Artifact:
    return Artifact({"model.npy": order.export.path})


MATRIX = replace(TOY, form=Form("matrix", "a matrix", open_matrix), precisions=("fp32",), build=build_matrix)
TO_MATRIX = Exporter(export=export_matrix, packages=("numpy",))

# --- the rows


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, numpy_models: None) -> None:
    monkeypatch.setitem(BACKENDS, "toy", TOY)
    monkeypatch.setitem(BACKENDS, "matrix", MATRIX)
    monkeypatch.setitem(EXPORTERS, ("numpy", "matrix"), TO_MATRIX)


@pytest.mark.usefixtures("toys")
def test_its_models_are_published_with_its_settings(generate: Generate, workdir: Path) -> None:
    outcome = generate(*LINEAR, "--backends", "toy")
    assert outcome.code == 0, outcome.err
    assert (outcome.result["status"], outcome.result["backend"]) == ("published", "toy")
    assert (workdir / "model_repository/linear/1/network.toy").is_file()
    config = (workdir / "model_repository/linear/config.pbtxt").read_text()
    for line in ('backend: "toy"', 'key: "THREADS"', "kind: KIND_CPU", "count: 2", "preferred_batch_size: [ 4 ]"):
        assert line in config


@pytest.mark.usefixtures("toys")
def test_a_live_check_says_that_the_local_server_lacks_it(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "toy", "--live-check", "auto")
    live = outcome.result["verification"]["live"]
    assert (live["status"], live["detail"]) == ("skipped", "the local server has no toy backend")


@pytest.mark.usefixtures("toys")
def test_it_is_given_the_graph_that_onnx_runtime_reads_and_not_tensorrts(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx:fp16,toy:fp16")
    assert [row["status"] for row in outcome.report["results"]] == ["published", "published"]


@pytest.mark.usefixtures("toys")
def test_a_form_of_its_own_is_exported_compared_and_published_beside_onnx(generate: Generate, workdir: Path) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,matrix")
    assert outcome.code == 0, outcome.err
    rows = outcome.report["results"]
    assert [(row["name"], row["status"]) for row in rows] == [
        ("linear_onnx", "published"),
        ("linear_matrix", "published"),
    ]
    assert all(row["verification"]["passed"] and row["verification"]["cases"] for row in rows)
    assert (workdir / "model_repository/linear_matrix/1/model.npy").is_file()
    assert generate(*LINEAR, "--backends", "matrix", "--name-template", "linear_matrix").result["status"] == "unchanged"


@pytest.mark.usefixtures("toys")
def test_a_form_of_its_own_that_answers_wrongly_is_not_published(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(source: SourceModel, folder: Path, options: Options) -> Export:
        model, weights = source.native
        return export_matrix(replace(source, native=(model, -weights)), folder, options)

    monkeypatch.setitem(EXPORTERS, ("numpy", "matrix"), Exporter(export=wrong, packages=()))
    outcome = generate("--model", "numpy:linear", "--backends", "matrix", "-q")
    assert outcome.code == 5
    assert not (workdir / "model_repository").exists()


@pytest.mark.usefixtures("toys")
def test_a_precision_that_it_does_not_serve_is_refused(generate: Generate) -> None:
    outcome = generate("--model", "numpy:linear", "--backends", "toy:int8")
    assert_refused(outcome, 2, "toy can't serve int8")


@pytest.mark.usefixtures("toys")
def test_what_changes_onnx_graphs_has_no_effect_on_another_form(generate: Generate) -> None:
    outcome = generate("--model", "numpy:linear", "--backends", "matrix", "--simplify")
    assert_refused(
        outcome, 2, "--simplify has no effect on matrix. It applies to: onnx, onnx+tensorrt-ep, tensorrt, toy"
    )


@pytest.mark.usefixtures("toys")
def test_what_changes_onnx_graphs_leaves_another_form_of_the_same_run_alone(generate: Generate) -> None:
    outcome = generate(
        *LINEAR, "--backends", "onnx,matrix", "--simplify", "--prune", "50%", "--max-accuracy-drop", "100%"
    )
    onnx, matrix = outcome.report["results"]
    assert (onnx["status"], matrix["status"]) == ("published", "published"), outcome.err
    assert onnx["optimization"]["done"]
    assert not matrix["optimization"]["done"]


@pytest.mark.usefixtures("toys")
def test_a_source_without_an_exporter_to_its_form_is_refused(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(EXPORTERS, ("numpy", "matrix"))
    outcome = generate("--model", "numpy:linear", "--backends", "matrix", "-q")
    assert_refused(outcome, 4, "can't export a numpy model as matrix")


def test_the_default_backend_is_made_from_onnx() -> None:
    (choice,) = default_options("numpy:linear").backends
    assert BACKENDS[choice.backend].form.name == "onnx"
