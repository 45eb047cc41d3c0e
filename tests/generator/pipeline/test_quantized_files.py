"""ONNX files that are quantized before they are published: served as they are, and judged as INT8."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.graphs.walk import quantizes
from modelrepo.generator.pipeline.proving import ROUNDS
from modelrepo.generator.verification.comparison import INT8
from tests import onnx_files
from tests.mutation.proof import job_of, loaded, proved

WIDTH = 16


def products() -> onnx.ModelProto:
    """Return two products of float weights, with a Relu between them."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 1, (WIDTH, WIDTH)).astype("float32"), name) for name in ("w", "v")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="two"),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="three"),
    ]
    taken, given = ([(name, TensorProto.FLOAT, ["batch", WIDTH])] for name in "xy")
    return onnx_files.model(nodes, taken, given, weights)


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """Write the products as ONNX Runtime's own tool quantizes them, with ranges that each request sets."""
    from onnxruntime.quantization import quantize_dynamic

    path, origin = tmp_path / "quantized.onnx", tmp_path / "products.onnx"
    onnx.save(products(), str(origin))
    quantize_dynamic(str(origin), str(path), reduce_range=True)  # without it, kernels of older CPUs saturate
    return path


def test_a_file_that_is_quantized_is_published_with_a_note(quantized: Path, tmp_path: Path) -> None:
    job = job_of(f"onnx:{quantized}", {})
    proven = proved(job, loaded(job), tmp_path / "export")
    assert proven.export.exporter == "as-is"
    assert ROUNDS in proven.notes
    assert proven.precision == INT8, "the live check judges it alike"
    assert proven.max_batch_size == 0, "the range of a batch would decide how its samples are rounded"


def test_a_rewritten_file_must_answer_as_before(quantized: Path) -> None:
    model = onnx.load(str(quantized))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, str(quantized))
    assert loaded(job_of(f"onnx:{quantized}", {})).quantized
    assert not loaded(job_of(f"onnx:{quantized}", {"make_batch_dynamic": True})).quantized


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("QuantizeLinear", True),
        ("DynamicQuantizeLinear", True),
        ("DequantizeLinear", False),  # of integer weights alone, which is exact
        ("MatMulInteger", False),
    ],
)
def test_only_what_rounds_its_own_tensors_is_judged_as_int8(operator: str, expected: bool) -> None:
    graph = helper.make_graph([helper.make_node(operator, ["x", "scale"], ["y"])], "g", [], [])
    assert quantizes(helper.make_model(graph)) is expected
