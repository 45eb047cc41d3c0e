"""BF16: half the size with the range of FP32, for GPUs from Ampere on; inputs and outputs stay FP32."""

from collections.abc import Mapping
from functools import cache
from math import inf
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import half, made, rounding
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification import comparison

# The operator set in which convolution and pooling take BF16.
OPSET = 22

# The largest BF16: 8 bits of ones, and the largest exponent of FP32.
LARGEST = (2 - 2.0**-7) * 2.0**127


def lower(request: Request) -> Lowered:
    """Turn FP32 weights and computation into BF16, and write a twin that a CPU can run.

    ONNX Runtime's FP16 converter decides where Casts go; then BF16 replaces FP16, and weights are rounded from FP32.
    If operators of the model take BF16 only in a newer operator set, its opset becomes OPSET. Operators without BF16
    stay in FP32, and so do nodes in ``request.kept``. Raises ConversionError if the model contains FP16, can't be
    converted to OPSET, or no weights became BF16.
    """
    from onnx import TensorProto

    model = edit.load(request.export.path)
    made.check_kept(model, request.kept)
    before = edit.weight_bytes(model)
    half.prepare(model, "BF16")
    model = _with_opset(edit.inferred(model))
    _refuse_fp16(model)
    precise = {place: values(tensor) for place, tensor in edit.places(model).items()}
    opset = edit.opset_of(model)
    without = {node.op_type for node in edit.nodes(model) if _since(node) > opset}
    model, layers = half.to_half(model, request.kept, half.blocked_operators() | without)

    def rounded(place: str, tensor: Any) -> Array:
        return to_bf16(precise[place] if place in precise else values(tensor))

    edit.retype(model, TensorProto.FLOAT16, TensorProto.BFLOAT16, rounded)
    done = half.summary(model, TensorProto.BFLOAT16, "BF16", before, request.kept)
    export = made.described(edit.save(model, request.folder), request.export)
    made.check_types(export.path)  # ONNX Runtime's CPU has no BF16, so it can't check the model
    twin = rounding.write_twin(model, TensorProto.BFLOAT16, request.folder / "twin")
    return Lowered(export, done, layers, twin, runs_here=False)


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return how much each node's FP32 answer changes if its inputs, weights and outputs are rounded to BF16.

    The figure is the root mean square of the differences / that of the answer, the worst over the inputs.
    """
    from onnx import TensorProto

    return rounding.costs(request, lowered.layers, TensorProto.BFLOAT16)


def to_bf16(numbers: Array) -> Array:
    """Round to the nearest BF16, ties to even; finite numbers stay finite, such as the lowest FP32 in masks."""
    import ml_dtypes
    import numpy as np

    finite = np.where(np.isinf(numbers), numbers, np.clip(numbers, -LARGEST, LARGEST))
    return finite.astype(ml_dtypes.bfloat16)


def values(tensor: Any) -> Array:
    """Return the values of a TensorProto."""
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _refuse_fp16(model: Any) -> None:
    from onnx import TensorProto

    if TensorProto.FLOAT16 in edit.element_types(model).values():
        raise ConversionError("parts of the model are FP16, which can't become BF16", "Start from an FP32 model")


def _with_opset(model: Any) -> Any:
    """Return the model in the operator set OPSET, if an operator has BF16 there and not in the model's own."""
    from onnx import version_converter

    lacking = [node for node in edit.nodes(model) if edit.opset_of(model) < _since(node) <= OPSET]
    if not lacking:
        return model
    try:
        return edit.without_weights(model, lambda light: version_converter.convert_version(light, OPSET))
    except RuntimeError as error:  # ConvertError and others have no other common class
        raise ConversionError(
            f"{lacking[0].op_type} {lacking[0].name!r} takes BF16 from opset {_since(lacking[0])} on, and the model "
            f"can't be converted to opset {OPSET}: {error}",
            f"Export it with --opset {OPSET}",
        ) from error


def _since(node: Any) -> float:
    """Return the first opset in which an operator of ONNX takes BF16; 0 if it doesn't take FP32 either."""
    return _first_with_bf16(node.op_type) if node.domain in edit.DEFAULT_DOMAINS else 0


@cache
def _first_with_bf16(op_type: str) -> float:
    from onnx import defs

    schemas = [each for each in defs.get_all_schemas_with_history() if (each.domain, each.name) == ("", op_type)]
    types = [(each.since_version, {*one.allowed_type_strs}) for each in schemas for one in each.type_constraints]
    if not any("tensor(float)" in allowed for _, allowed in types):
        return 0
    return min((since for since, allowed in types if {"tensor(float)", "tensor(bfloat16)"} <= allowed), default=inf)


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    precision=comparison.BF16,
    max_accuracy_drop=0.01,
    packages=("onnx", "onnxruntime", "ml_dtypes"),
)
