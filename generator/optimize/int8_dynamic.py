"""Dynamic INT8: int8 weights, and activations whose range is found in each request; for CPUs, no calibration."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import half, made, qdq
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.optimize.silence import silent
from modelrepo.generator.verification import comparison

# Products with constant weights. Convolutions stay in FP32: on a CPU with VNNI dynamic INT8 made ResNet50 13% slower,
# but ViT-B/16's products twice as fast.
OPERATORS = ("MatMul", "Gemm")
# ONNX Runtime first splits a Gemm into an addition and a product, whose name ends so; then it quantizes products.
PRODUCT = "_MatMul"
QUANTIZED = "_quant"


def lower(request: Request) -> Lowered:
    """Quantize the matrix products with constant weights with ONNX Runtime, with a scale per column.

    All other nodes, and those named in ``request.kept``, stay in FP32. Raises ConversionError if there is no such
    product.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    request.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        before = edit.load(qdq.prepared(request, Path(scratch), "dynamic INT8"))
        # ONNX Runtime transposes a Gemm's weights, and fails if the model states their old shape.
        for value in [value for value in before.graph.value_info if value.type.HasField("tensor_type")]:
            value.type.tensor_type.ClearField("shape")
        path, *data = edit.save(before, Path(scratch) / "bare")
        outcome = Path(scratch) / "quantized.onnx"
        try:
            with silent():
                quantize_dynamic(
                    path,
                    outcome,
                    op_types_to_quantize=list(OPERATORS),
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=[name for kept in request.kept for name in (kept, kept + PRODUCT)],
                    use_external_data_format=bool(data),
                )
        except Exception as error:  # its own errors, onnx's and numpy's have no other common class
            raise ConversionError(f"quantization failed: {first_line(error)}") from error
        after = edit.load(outcome)
    qdq.drop_unused_domains(after)
    layers = _quantized(before, after)
    there = [node.op_type for node in before.graph.node if node.op_type in qdq.LAYERS]
    products = {node.name for node in before.graph.node if node.op_type in OPERATORS}
    if products and products <= {*request.kept}:
        raise ConversionError("all products are kept precise, so none became dynamic INT8", half.KEEP_FEWER)
    if not layers:
        raise ConversionError(
            f"none of the model's {len(there)} layers became dynamic INT8: only plain products with weights can",
            "Static int8 quantizes convolutions, and products with a factor, too",
        )
    export = made.described(edit.save(after, request.folder), request.export)
    if not made.opens(export.path):
        raise ConversionError("ONNX Runtime does not open the INT8 model that it made")
    convolutions = sum(kind.startswith("Conv") for kind in there)
    precise = f" ({convolutions} convolutions stay FP32)" if convolutions else ""
    done = f"{len(layers)} of {len(there)} layers are dynamic INT8{precise}, {qdq.sizes(before, after)}"
    return Lowered(export, done, layers)


def _quantized(before: Any, after: Any) -> tuple[str, ...]:
    """Return the original names of the quantized layers."""
    made = {node.name for node in after.graph.node if node.op_type == "MatMulInteger"}
    return tuple(
        node.name
        for node in before.graph.node
        if node.op_type in OPERATORS and made & {node.name + QUANTIZED, node.name + PRODUCT + QUANTIZED}
    )


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return how far each layer's int8 weights are from the FP32 ones, as a share of these: root mean squares.

    The cost of rounding its input depends on the request, and is small: the range is that of the input itself.
    """
    import numpy as np
    import onnx

    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        model = edit.load(qdq.prepared(request, Path(scratch), "dynamic INT8"))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.name in lowered.layers:
            values = onnx.numpy_helper.to_array(weights[node.input[1]])
            transposed = any(each.name == "transB" and each.i for each in node.attribute)
            columns = values.T if transposed else values
            # ONNX Runtime keeps the weights of dynamic products to 7 bits, so that no sum of two overflows.
            scale = np.maximum(np.abs(columns).max(axis=-2, keepdims=True) / 63, np.finfo(np.float32).tiny)
            lost = columns - np.round(columns / scale) * scale
            found[node.name] = float(np.linalg.norm(lost)) / max(float(np.linalg.norm(columns)), 1e-30)
    return found


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    precision=comparison.INT8,
    max_accuracy_drop=0.03,
    mixes_samples=True,
)
