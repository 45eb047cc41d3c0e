"""FP16: half the size, and twice the speed or more on a GPU; inputs and outputs stay FP32."""

from collections.abc import Mapping

from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import beyond, half, made, rounding
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.verification import comparison


def lower(request: Request) -> Lowered:
    """Turn FP32 weights and computation into FP16 with ONNX Runtime's converter.

    Operators that it leaves in FP32 (such as TopK and NonMaxSuppression, and the scales of a Resize) stay so, and so do
    nodes in ``request.kept``, and those that constants beyond FP16's range need. The ``twin`` rounds as a GPU does:
    ONNX Runtime's CPU computes FP16 in FP32, where nothing overflows. Raises ConversionError if a constant is too large
    where nothing can stay in FP32, no weight was lowered, or ONNX Runtime refuses the result.
    """
    from onnx import TensorProto

    model = edit.load(request.export.path)
    made.check_kept(model, request.kept)
    before = edit.weight_bytes(model)
    half.prepare(model, "FP16")
    treated = beyond.treat(model, request.kept)
    kept = tuple(dict.fromkeys((*request.kept, *treated.precise)))
    model, layers = half.to_half(model, kept, half.blocked_operators())
    done = half.summary(model, TensorProto.FLOAT16, "FP16", before, kept)
    export = made.described(edit.save(model, request.folder), request.export)
    twin = rounding.write_twin(model, TensorProto.FLOAT16, request.folder / "twin")
    return Lowered(export, done, layers, twin, runs_here=made.opens(export.path), rather=treated.masking)


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return how much each node's FP32 answer changes if its inputs, weights and outputs are rounded to FP16.

    The figure is the root mean square of the differences / that of the answer, the worst over the inputs; infinity if
    an FP16 overflows.
    """
    from onnx import TensorProto

    return rounding.costs(request, lowered.layers, TensorProto.FLOAT16)


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    precision=comparison.FP16,
    max_accuracy_drop=0.01,
)
