"""INT8 and FP8: what is quantized, what stays, what it costs, and what can't be made."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.errors import ConversionError, OptionError
from modelrepo.generator.graphs import onnx_file, runtime, typed
from modelrepo.generator.optimize import bf16, fp8, fp16, int8, int8_dynamic, qdq
from modelrepo.generator.optimize.recipe import Request
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification.inputs import Pool
from tests import onnx_files
from tests.generator.optimize import fp8_graphs

IMAGES = ("x", TensorProto.FLOAT, ["batch", 3, 16, 16])
CLASSES = ("y", TensorProto.FLOAT, ["batch", 10])
CHANNELS = 16
pytestmark = pytest.mark.usefixtures("workdir")


def weights(name: str, *shape: int) -> onnx.TensorProto:
    random = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array(random.normal(0, 0.1, shape).astype("float32"), name)


def network(outlier: float = 0.0, **parts: Any) -> onnx.ModelProto:
    """Return two convolutions and a product; one weight of the second may dwarf the rest of its channel."""
    second = numpy_helper.to_array(weights("second", CHANNELS, CHANNELS, 3, 3)).copy()
    second[:, 0, 0, 0] += outlier
    nodes = [
        helper.make_node("Conv", ["x", "first", "bias"], ["a"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], name="two", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "last"], ["y"]),  # without a name
    ]
    constants = [
        weights("first", CHANNELS, 3, 3, 3),
        weights("bias", CHANNELS),
        numpy_helper.from_array(second, "second"),
        weights("last", CHANNELS, 10),
    ]
    return onnx_files.model(nodes, [IMAGES], [CLASSES], constants, **parts)


def asked(model: onnx.ModelProto, shape: Sequence[int] = (3, 16, 16), count: int = 12, **options: Any) -> Request:
    """Write a model, and request it in INT8, calibrated with normal values."""
    path = Path("source") / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    export = Export(path, (path,), onnx_file.read_signature(model.graph), "test", 20, 10)
    data = np.random.default_rng(1).standard_normal((count, *shape)).astype("float32")
    pool = Pool({"x": data}, tuple(f"sample {row}" for row in range(count)))
    return Request(export, Path("lowered"), **{"data": (pool,), **options})


def answers(path: Path, shape: Sequence[int] = (3, 16, 16), batch: int = 5) -> Array:
    values = np.random.default_rng(2).standard_normal((batch, *shape)).astype("float32")
    answer: Array = runtime.open_model(path)({"x": values})["y"]
    return answer


def distance(request: Request, path: Path) -> float:
    """Return how far a model's answers are from the source's, as a share of their magnitude."""
    wanted = answers(request.export.path)
    return float(np.abs(answers(path) - wanted).max() / np.abs(wanted).max())


def element_types(path: Path) -> Counter[str]:
    graph = onnx.load(str(path)).graph
    return Counter(TensorProto.DataType.Name(each.data_type) for each in graph.initializer if len(each.dims) > 1)


@pytest.mark.parametrize("for_tensorrt", [False, True])
@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_layers_become_int8_and_answers_stay_near(method: str, for_tensorrt: bool) -> None:
    request = asked(network(), method=method, for_tensorrt=for_tensorrt)
    lowered = int8.lower(request)
    assert lowered.done.startswith("3 of 3 layers are INT8, ")
    assert lowered.layers == ("one", "two", "Gemm_4")
    assert element_types(lowered.export.path) == {"INT8": 3}
    assert lowered.export.signature == request.export.signature
    assert 0 < distance(request, lowered.export.path) < int8.RECIPE.precision.tolerance.relative


def test_tensorrt_gets_plain_operators_and_nothing_but_int8_around_zero() -> None:
    model = onnx.load(str(int8.lower(asked(network(), for_tensorrt=True)).export.path))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero).any()
    assert constants["bias"].data_type == TensorProto.FLOAT
    outputs = [name for node in pairs if node.op_type == "QuantizeLinear" for name in node.input[:1]]
    assert sorted(outputs) == ["b", "f", "x"]  # the inputs of the layers, and no output


def scaled() -> onnx.ModelProto:
    """Return two products behind a Scaler, as skl2onnx writes a perceptron in a pipeline."""
    model = onnx_files.model(
        [
            helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0] * 4, scale=[0.5] * 4),
            helper.make_node("Cast", ["s"], ["c"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["c", "first"], ["a"], "one"),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "last"], ["y"], "two"),
        ],
        [("x", TensorProto.FLOAT, ["batch", 4])],
        [CLASSES],
        [weights("first", 4, CHANNELS), weights("last", CHANNELS, 10)],
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


@pytest.mark.parametrize("recipe", [int8, int8_dynamic])
def test_layers_behind_operators_of_other_domains_become_int8(recipe: Any) -> None:
    request = asked(scaled(), shape=(4,))
    lowered = recipe.lower(request)
    assert lowered.layers == ("one", "two")
    assert element_types(lowered.export.path) == {"INT8": 2}
    wanted, got = (answers(path, (4,)) for path in (request.export.path, lowered.export.path))
    assert 0 < np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


def test_onnx_still_types_nothing_behind_operators_of_other_domains() -> None:
    """If it does, ``typed`` is not needed any more."""
    model = scaled()
    model.graph.node[2].input[0] = "s"  # ONNX Runtime removes the Cast
    del model.graph.node[1]
    inferred = onnx.shape_inference.infer_shapes(model)
    assert not {value.name for value in inferred.graph.value_info} & {"s", "a", "b"}


def test_types_of_a_model_that_states_them_stay_as_they_are(workdir: Path) -> None:
    path = onnx_files.write("plain.onnx")
    before = path.read_bytes()
    typed.declare_floats(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ("TreeEnsembleClassifier", "a model of trees"),
        ("SVMRegressor", "a support vector machine"),
        ("Relu", "the model"),
    ],
)
def test_what_has_no_layers_is_named(operator: str, told: str) -> None:
    domain = "" if operator == "Relu" else "ai.onnx.ml"
    model = onnx_files.model([helper.make_node(operator, ["x"], ["y"], domain=domain)])
    with pytest.raises(ConversionError, match=f"^{told} has no layer that INT8 changes") as raised:
        qdq.refuse(model, "INT8")
    assert raised.value.hint == "Publish it in FP32"


def test_layers_to_keep_stay_as_they_are() -> None:
    lowered = int8.lower(asked(network(), kept=("two", "Gemm_4")))
    assert lowered.layers == ("one",)
    assert lowered.done.startswith("1 of 3 layers are INT8")
    assert element_types(lowered.export.path) == {"INT8": 1, "FLOAT": 2}
    with pytest.raises(OptionError, match="no node 'three'"):
        int8.lower(asked(network(), kept=("three",)))


def test_the_layer_that_loses_most_costs_most() -> None:
    request = asked(network(outlier=30.0))
    costs = int8.costs(request, int8.lower(request))
    assert set(costs) == {"one", "two", "Gemm_4"}
    assert max(costs, key=lambda name: costs[name]) == "two"
    usual = asked(network())
    assert int8.costs(usual, int8.lower(usual))["two"] < 0.02 < costs["two"]


def test_values_outside_the_calibrated_range_are_clipped() -> None:
    """This is why INT8 is compared on inputs like those of its calibration, not on ones ten times as large."""
    request = asked(network())
    large = np.full((1, 3, 16, 16), 100.0, "float32")
    got = runtime.open_model(int8.lower(request).export.path)({"x": large})["y"]
    wanted = runtime.open_model(request.export.path)({"x": large})["y"]
    assert np.abs(got).max() < 0.2 * np.abs(wanted).max()


def test_a_model_without_batches_is_calibrated_with_whole_inputs() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    shapes = [("x", TensorProto.FLOAT, [4, 64])], [("y", TensorProto.FLOAT, [4, 32])]
    request = asked(onnx_files.model(nodes, *shapes, [weights("w", 64, 32)]), shape=(4, 64))
    assert int8.lower(request).layers == ("MatMul_0",)


def relu() -> Request:
    return asked(onnx_files.model([helper.make_node("Relu", ["x"], ["y"])], [IMAGES], [("y", *IMAGES[1:])]))


def quantized_already() -> Request:
    request = asked(network())
    made = int8.lower(request).export
    return replace(request, export=made, folder=Path("again"))


def dynamic(values: float) -> Request:
    request = asked(network())
    (pool,) = request.data
    return replace(request, data=(Pool({"x": np.full_like(pool.arrays["x"], values)}, pool.families),))


REFUSED: dict[str, tuple[Callable[[Request], Any], Callable[[], Request]]] = {
    "no layer": (int8.lower, relu),
    "every layer kept": (int8.lower, lambda: asked(network(), kept=("one", "two", "Gemm_4"))),
    "no data": (int8.lower, lambda: asked(network(), data=())),
    "NaN": (int8.lower, lambda: replace(dynamic(np.nan), method="percentile")),
    "quantized already": (int8.lower, quantized_already),
    "opset 12 that onnx can't convert": (int8.lower, lambda: asked(network(opset=12, ir_version=7))),
    "dynamic, no product": (int8_dynamic.lower, lambda: asked(network(), kept=("Gemm_4",))),
    "FP8 without modelopt": (fp8.lower, lambda: asked(network())),
    "FP8 by entropy": (fp8.lower, lambda: asked(network(), method="entropy")),
}


def test_models_that_cannot_be_lowered_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    def fail(model: Any, opset: int) -> Any:
        raise RuntimeError("no adapter")

    monkeypatch.delenv(fp8.PYTHON, raising=False)
    monkeypatch.setattr("onnx.version_converter.convert_version", fail)
    told = []
    for name, (lower, request) in REFUSED.items():
        with pytest.raises((ConversionError, OptionError)) as raised:
            lower(request())
        told.append(f"{name}: {raised.value}\n")
    golden("messages/optimize/int8.txt", "".join(told))


def test_a_model_without_scales_for_channels_is_converted_to_a_newer_opset() -> None:
    request = asked(network(opset=12, ir_version=7))
    lowered = int8.lower(request)
    assert lowered.layers == ("one", "two", "Gemm_4")
    assert lowered.export.opset == qdq.MIN_OPSET
    assert distance(request, lowered.export.path) < 0.05
    assert int8.costs(request, lowered).keys() == {*lowered.layers}


def with_a_row_as_bias() -> onnx.ModelProto:
    """Return the network with a bias of shape [1, 10] for its product."""
    model = network()
    model.graph.node[-1].input.append("row")
    model.graph.initializer.append(weights("row", 1, 10))
    return model


def test_a_bias_of_two_dimensions_stays_as_it_is() -> None:
    request = asked(with_a_row_as_bias())
    lowered = int8.lower(request)
    assert "Gemm_4" in lowered.layers
    assert distance(request, lowered.export.path) < 0.05


def test_onnxruntime_cannot_adjust_weights_to_such_a_bias_yet() -> None:
    from onnxruntime.quantization import QDQQuantizer

    quantizer = QDQQuantizer.__new__(QDQQuantizer)
    scales, row = np.ones(10, "f4"), weights("row", 1, 10)
    with pytest.raises((ValueError, IndexError)):
        quantizer._adjust_weight_scale_for_int32_bias(np.ones((), "f4"), scales, "w", row, True)


def test_dimensions_without_a_name_stay_so_in_a_newer_opset() -> None:
    model = network(opset=12, ir_version=7)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1  # as Paddle writes it
    newer = qdq._with_scales(model, "INT8")
    assert newer.opset_import[0].version == qdq.MIN_OPSET
    for value in (*newer.graph.input, *newer.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == -1


def test_a_negative_dimension_is_one_without_a_name() -> None:
    request = asked(network(opset=12, ir_version=7))
    model = onnx.load(str(request.export.path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    onnx.save(model, str(request.export.path))
    assert int8.lower(request).layers == ("one", "two", "Gemm_4")


def test_dynamic_int8_takes_products_and_leaves_convolutions() -> None:
    request = asked(network(), data=())
    lowered = int8_dynamic.lower(request)
    assert lowered.layers == ("Gemm_4",)
    assert lowered.done.startswith("1 of 3 layers are dynamic INT8 (2 convolutions stay FP32), ")
    operators = Counter(node.op_type for node in onnx.load(str(lowered.export.path)).graph.node)
    assert (operators["MatMulInteger"], operators["Conv"], operators["Gemm"]) == (1, 2, 0)
    assert distance(request, lowered.export.path) < 0.05
    assert 0 < int8_dynamic.costs(request, lowered)["Gemm_4"] < 0.05


def products() -> onnx.ModelProto:
    """Return two products, wide enough for modelopt."""
    wide = [("x", TensorProto.FLOAT, ["batch", 256])], [("y", TensorProto.FLOAT, ["batch", 128])]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="two"),
    ]
    return onnx_files.model(nodes, *wide, [weights("w", 256, 256), weights("v", 256, 128)])


def test_the_twin_of_an_fp8_model_answers_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = products()
    monkeypatch.setenv(fp8.PYTHON, str(fp8_graphs.stand_in(fp8_graphs.quantized(model, {"x": 4.0, "b": 8.0}))))
    request = asked(model, shape=(256,))
    lowered = fp8.lower(request)
    assert lowered.layers == ("one", "two")
    assert lowered.done.startswith("2 of 2 layers are FP8, 2 Q/DQ pairs, 0.4 MB -> 0.1 MB")
    assert element_types(lowered.export.path) == {"FLOAT8E4M3FN": 2}
    assert lowered.export.signature == request.export.signature
    assert (lowered.runs_here, lowered.twin is None) == (False, False)
    assert lowered.twin
    wanted = answers(request.export.path, (256,))
    assert 1e-3 < np.abs(answers(lowered.twin, (256,)) - wanted).max() / np.abs(wanted).max() < 0.1
    costs = fp8.costs(request, lowered)
    assert set(costs) == {"one", "two"}
    assert all(0.01 < cost < 0.1 for cost in costs.values())


def test_modelopt_in_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    told = []
    for name, python in {
        "another": f"./{fp8_graphs.stand_in(products(), '0.46.1').name}",
        "none": sys.executable,
    }.items():
        monkeypatch.setenv(fp8.PYTHON, python)
        with pytest.raises(ConversionError) as raised:
            fp8.lower(asked(network()))
        told.append(f"{name}: {str(raised.value).replace(sys.executable, 'PYTHON')}\n")
    golden("messages/optimize/modelopt.txt", "".join(told))


def test_the_error_of_a_failed_modelopt_has_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    python = fp8_graphs.stand_in(products())
    python.write_text(f'#!/bin/sh\nif [ "$2" = -c ]; then echo {fp8.RELEASE}; else echo Out of luck >&2; exit 1; fi\n')
    monkeypatch.setenv(fp8.PYTHON, str(python))
    with pytest.raises(ConversionError, match="nvidia-modelopt failed: Out of luck"):
        fp8.lower(asked(network()))


def other_floats(model: onnx.ModelProto, element_type: int) -> onnx.ModelProto:
    """Return the model with weights of a different type, cast to FP32."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    kind = helper.tensor_dtype_to_np_dtype(element_type)
    for tensor in made.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = element_type
    return made


@pytest.mark.parametrize("recipe", [int8, int8_dynamic])
@pytest.mark.parametrize("element_type", ["FLOAT16", "DOUBLE"])
def test_weights_that_are_not_fp32_are_refused_without_output(
    recipe: Any, element_type: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = other_floats(network(), TensorProto.DataType.Value(element_type))
    with pytest.raises(ConversionError, match=f"the weights of Conv 'one' are {element_type}, but .*INT8 needs"):
        recipe.lower(asked(model))
    assert capfd.readouterr().err == ""


def test_tools_keep_their_logs_to_themselves(capfd: pytest.CaptureFixture[str]) -> None:
    model = network()
    model.graph.initializer.append(weights("unused", 4))  # of which ONNX Runtime warns
    model.graph.input.append(helper.make_tensor_value_info("first", TensorProto.FLOAT, [CHANNELS, 3, 3, 3]))
    int8.lower(asked(model))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("recipe", [fp16, bf16])
def test_quantized_models_are_not_lowered_to_half(recipe: Any) -> None:
    quantized = onnx.load(int8.lower(asked(network())).export.path)
    with pytest.raises(ConversionError, match="the model is quantized already"):
        recipe.lower(replace(asked(quantized), folder=Path("half")))


def stored(scales: int, constant: bool) -> onnx.ModelProto:
    """Return y = x @ w with w dequantized: from a constant, or from one that is quantized at each request."""
    values = np.ones((4, 8), "int8" if constant else "float32")
    nodes = [] if constant else [helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["q"], axis=1)]
    nodes += [
        helper.make_node("DequantizeLinear", ["w" if constant else "q", "scale", "zero"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"], name="product"),
    ]
    arrays = {"w": values, "scale": np.ones(scales, "float32"), "zero": np.zeros(scales, "int8")}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    rows = [("x", TensorProto.FLOAT, ["batch", 4])]
    return onnx_files.model(nodes, rows, [("y", TensorProto.FLOAT, ["batch", 8])], constants)


def test_int8_weights_are_stored_as_such_with_a_scale_a_channel() -> None:
    qdq.check_stored(stored(8, constant=True), ["product"])
    with pytest.raises(ConversionError, match="one scale for all"):
        qdq.check_stored(stored(1, constant=True), ["product"])
    with pytest.raises(ConversionError, match="quantized at each request"):
        qdq.check_stored(stored(8, constant=False), ["product"])


@pytest.mark.slow
@pytest.mark.skipif(fp8.PYTHON not in os.environ, reason=f"{fp8.PYTHON} names no python with nvidia-modelopt")
def test_fp8_by_modelopt_is_fp8_and_answers_nearly_the_same() -> None:
    request = asked(products(), shape=(256,))
    lowered = fp8.lower(request)
    assert lowered.layers
    assert element_types(lowered.export.path)["FLOAT8E4M3FN"] == len(lowered.layers)
    assert lowered.twin is not None
    wanted = answers(request.export.path, (256,))
    assert np.abs(answers(lowered.twin, (256,)) - wanted).max() < 0.1 * np.abs(wanted).max()
    assert set(fp8.costs(request, lowered)) == set(lowered.layers)
