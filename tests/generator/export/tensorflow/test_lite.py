"""TensorFlow Lite files with sparse weights, and with variables."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export import tensorflow as exporting
from modelrepo.generator.export.tensorflow import lite, sparse
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import tflite
from modelrepo.generator.sources.tensorflow import tensorflow
from modelrepo.generator.specs.tensors import Array

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SHAPE = (8, 8)


def axis(size: int) -> SimpleNamespace:
    return SimpleNamespace(Format=lambda: sparse.DENSE, DenseSize=lambda: size)


def listed(segments: list[int], indices: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        Format=lambda: 1,
        ArraySegments=lambda: segments,
        ArraySegmentsType=lambda: 0,
        ArrayIndices=lambda: indices,
        ArrayIndicesType=lambda: 0,
    )


def parameters(order: list[int], blocked: list[int], axes: list[SimpleNamespace]) -> SimpleNamespace:
    return SimpleNamespace(
        TraversalOrder=order.__getitem__,
        TraversalOrderLength=lambda: len(order),
        BlockMap=blocked.__getitem__,
        BlockMapLength=lambda: len(blocked),
        DimMetadata=axes.__getitem__,
    )


ROWS: Array = np.array([[0, 5, 0, 7], [0, 0, 0, 0], [0, 0, 9, 0]], "f4")
COLUMNS = ROWS.T.copy()
BLOCKS: Array = np.array([[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 0], [0, 0, 0, 6]], "f4")


@pytest.mark.parametrize(
    ("stored", "described", "wanted"),
    [
        ([5, 7, 9], parameters([0, 1], [], [axis(3), listed([0, 2, 2, 3], [1, 3, 2])]), ROWS),
        ([5, 7, 9], parameters([1, 0], [], [axis(3), listed([0, 2, 2, 3], [1, 3, 2])]), COLUMNS),
        (
            [1, 2, 3, 4, 5, 0, 0, 6],
            parameters([0, 1, 2, 3], [0, 1], [axis(2), listed([0, 1, 2], [0, 1]), axis(2), axis(2)]),
            BLOCKS,
        ),
    ],
    ids=["rows", "columns", "blocks"],
)
def test_sparse_numbers_are_put_where_they_belong(
    stored: list[float], described: Any, wanted: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "_numbers", lambda table, kind: np.array(table, np.int64))
    np.testing.assert_array_equal(sparse.dense(np.array(stored, "f4"), described, [*wanted.shape]), wanted)


def converted(function: Callable[[Any], Any], path: Path, optimization: str = "", **held: Any) -> Path:
    """Save a function of [1, 8], and the variables that it holds, as a TensorFlow Lite file."""
    library = tensorflow()
    owner = library.Module()
    for name, each in held.items():
        setattr(owner, name, each)
    traced = library.function(function, input_signature=[library.TensorSpec([1, 8], "float32", "x")])
    home = path.with_suffix("")
    library.saved_model.save(owner, str(home), signatures=traced.get_concrete_function())
    converter = library.lite.TFLiteConverter.from_saved_model(str(home))
    converter.experimental_enable_resource_variables = True
    converter.optimizations = [getattr(library.lite.Optimize, optimization)] if optimization else []
    path.write_bytes(converter.convert())
    return path


def exported(path: Path, folder: Path) -> tuple[Any, Any]:
    reference = f"tflite:{path}"
    options = resolve({}, ConfigFile(), reference)[1]
    source = tflite.load(str(path), options, Progress())
    return source, exporting.export(source, folder, options)


def test_a_file_with_sparse_weights_answers_as_its_source(tmp_path: Path) -> None:
    weights = np.zeros(SHAPE, "f4")
    weights[1, 2], weights[5, 0], weights[7, 7] = 3, -2, 0.5
    path = converted(lambda x: {"y": x @ weights.T + 1}, tmp_path / "pruned.tflite", "EXPERIMENTAL_SPARSITY")
    graph = lite._opened(path).Subgraphs(0)
    assert any(graph.Tensors(number).Sparsity() for number in range(graph.TensorsLength()))
    source, export = exported(path, tmp_path / "onnx")
    asked = {source.inputs[0].name: np.arange(8, dtype="f4").reshape(1, 8)}
    (wanted,), (got,) = source.run(asked).values(), ONNX_FORM.open(export.path)(asked).values()
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_allclose(wanted, asked[source.inputs[0].name] @ weights.T + 1, rtol=1e-6)


def test_a_file_that_keeps_its_state_is_refused(tmp_path: Path) -> None:
    library = tensorflow()
    held = library.Variable(np.zeros((1, 8), "f4"))
    path = converted(lambda x: {"y": held.assign_add(x)}, tmp_path / "counting.tflite", held=held)
    with pytest.raises(
        ConversionError, match="keeps its state in variables, so its output depends on earlier requests"
    ):
        exported(path, tmp_path / "onnx")
