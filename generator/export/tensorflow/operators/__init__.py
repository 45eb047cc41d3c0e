"""Converters for operators of TensorFlow that tf2onnx does not know or writes wrongly: a module a cause, and one table.

TensorFlow Lite's operators pass through the same table, under TensorFlow's names.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from modelrepo.generator.export.tensorflow.operators import (
    bits,
    choices,
    colours,
    comparisons,
    division,
    functions,
    losses,
    one_hot,
    quantization,
    resizing,
    segments,
    tables,
    whole_numbers,
)
from modelrepo.generator.export.tensorflow.operators.site import Writer, site_of

# tf2onnx calls it with its graph, the node, its name, and arguments, of which we have none.
Handler = Callable[[Any, Any, str, Any], None]

WRITERS: Mapping[str, Writer] = {
    # division
    "FloorDiv": division.floor_div,
    "FloorMod": division.floor_mod,
    "TruncateDiv": division.truncate_div,
    "Div": division.truncate_div,
    "TruncateMod": division.truncate_mod,
    "Mod": division.truncate_mod,
    # choices by element
    "Select": partial(choices.select, whole_rows=True),
    "SelectV2": choices.select,
    "MatrixBandPart": choices.band_part,
    # comparisons
    "Less": partial(comparisons.ordered, "Less"),
    "Greater": partial(comparisons.ordered, "Greater"),
    "Equal": comparisons.equal,
    "NotEqual": comparisons.not_equal,
    # one-hot vectors
    "OneHot": one_hot.one_hot,
    # bits
    "RightShift": bits.right_shift,
    "LeftShift": bits.left_shift,
    "Invert": bits.invert,
    # segments and scattered sums
    **{f"UnsortedSegment{each}": partial(segments.unsorted, each) for each in ("Sum", "Prod", "Max", "Min")},
    **{f"Segment{each}": partial(segments.by_order, each) for each in ("Sum", "Prod", "Max", "Min", "Mean")},
    **{f"SparseSegment{each}": partial(segments.gathered, each) for each in ("Mean", "SqrtN")},
    "ScatterNd": segments.scatter_nd,
    "DenseBincount": segments.dense_bincount,
    # large whole numbers
    "Sum": whole_numbers.sum_of,
    "TopKV2": whole_numbers.top_k,
    # functions
    "Erfc": functions.erfc,
    "Expm1": functions.expm1,
    "Log1p": functions.log1p,
    "Xlogy": functions.xlogy,
    "Xlog1py": functions.xlog1py,
    "Xdivy": functions.xdivy,
    "MulNoNan": functions.mul_no_nan,
    "L2Loss": functions.l2_loss,
    "EuclideanNorm": functions.euclidean_norm,
    "Atan2": functions.atan2,
    "Pow": functions.power,
    # losses
    "SparseSoftmaxCrossEntropyWithLogits": losses.of_classes,
    # images
    "AdjustHue": colours.hue,
    "AdjustSaturation": colours.saturation,
    **{each: partial(resizing.weighted, each) for each in resizing.TITLES},
    # quantization
    **{f"FakeQuantWithMinMax{each}": quantization.fake_quantized for each in ("Args", "Vars", "VarsPerChannel")},
    # tables
    "Bucketize": tables.bucketize,
}
# The opset of the ONNX form of operators that have none in older ones; export's own opset is enough for all others.
OPSETS = {
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), 18),
    **{f"{kind}Segment{each}": 18 for kind in ("", "Unsorted") for each in ("Max", "Min")},
    **{f"{kind}Segment{each}": 16 for kind in ("", "Unsorted") for each in ("Sum", "Prod", "Mean")},
    **{f"SparseSegment{each}": 16 for each in ("Mean", "SqrtN")},
    **dict.fromkeys(("ScatterNd", "DenseBincount"), 16),
}


def handlers(content: Mapping[bytes, tuple[Any, Any]]) -> dict[str, tuple[Handler, Sequence[Any]]]:
    """Return the converters by the name of their operator; ``content`` are keys and values by a table's name."""

    def look_up(graph: Any, node: Any, name: str, arguments: Any) -> None:
        table, default = tables.table_of(node, content), node.inputs[2].get_tensor_value(as_list=False)
        tables.look_up(site_of(graph, node), table, default)

    found: dict[str, Handler] = {operator: _handler(writer) for operator, writer in WRITERS.items()}
    return {operator: (handler, []) for operator, handler in {**found, "LookupTableFindV2": look_up}.items()}


def _handler(writer: Writer) -> Handler:
    def handle(graph: Any, node: Any, name: str, arguments: Any) -> None:
        writer(site_of(graph, node))

    return handle
