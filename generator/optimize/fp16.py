"""FP16: half the size, and twice the speed or more on a GPU; inputs and outputs stay FP32."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import half, made, rounding
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.verification import comparison

# Larger numbers stand for infinity, as in attention masks; the largest FP16 works as well.
INFINITE = 1e30
LARGEST = 65504.0


def lower(request: Request) -> Lowered:
    """Turn FP32 weights and computation into FP16 with ONNX Runtime's converter.

    Operators that it leaves in FP32 (such as TopK and NonMaxSuppression, and the scales of a Resize) stay so, and so do
    nodes in ``request.kept``. The ``twin`` rounds as a GPU does: ONNX Runtime's CPU computes FP16 in FP32, where
    nothing overflows. Raises ConversionError if a weight is too large for FP16, no weight was lowered, or ONNX Runtime
    refuses the result.
    """
    from onnx import TensorProto

    model = edit.load(request.export.path)
    made.check_kept(model, request.kept)
    before = edit.weight_bytes(model)
    half.prepare(model, "FP16")
    too_large = _too_large(model)
    model, layers = half.to_half(model, request.kept, half.blocked_operators())
    _refuse_overflow(model, too_large)
    done = half.summary(model, TensorProto.FLOAT16, "FP16", before, request.kept)
    export = made.described(edit.save(model, request.folder), request.export)
    twin = rounding.write_twin(model, TensorProto.FLOAT16, request.folder / "twin")
    return Lowered(export, done, layers, twin, runs_here=made.opens(export.path))


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return how much each node's FP32 answer changes if its inputs, weights and outputs are rounded to FP16.

    The figure is the root mean square of the differences / that of the answer, the worst over the inputs; infinity if
    an FP16 overflows.
    """
    from onnx import TensorProto

    return rounding.costs(request, lowered.layers, TensorProto.FLOAT16)


def _too_large(model: Any) -> dict[str, float]:
    """Return the largest number of each FP32 tensor that FP16 can't hold, by the tensor's place."""
    import numpy as np
    import onnx

    found = {}
    for place, tensor in edit.places(model).items():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            sizes = np.abs(onnx.numpy_helper.to_array(tensor))
            largest = float(sizes.max(initial=0.0, where=sizes < INFINITE))
            if largest > LARGEST:
                found[place] = largest
    return found


def _refuse_overflow(model: Any, too_large: Mapping[str, float]) -> None:
    from onnx import TensorProto

    places = edit.places(model) if too_large else {}
    outermost = {node.name for node in model.graph.node}
    for place, largest in too_large.items():
        if place in places and places[place].data_type == TensorProto.FLOAT16:
            reader = next((node.name for node in edit.nodes(model) if place in node.input), place.rpartition(".")[0])
            raise ConversionError(
                f"the weights {place!r} reach {largest:.3g}, but FP16 ends at {LARGEST:.0f}",
                f"Keep the node that reads them in FP32 with --keep-precise {reader}, or use bf16"
                if reader in outermost
                else "Use bf16",
            )


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    precision=comparison.FP16,
    max_accuracy_drop=0.01,
)
