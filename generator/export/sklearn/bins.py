"""Bins and quantiles: numbers are compared with their edges in float64, as scikit-learn compares them.

skl2onnx 1.20 rounds the edges to float32 and so moves numbers that lie on one into the bin below or above, and refuses
sparse answers (no issues known).
"""

from typing import Any

from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole


def binned(scope: Any, operator: Any, container: Any) -> None:
    """Convert a KBinsDiscretizer: a number's bin is the number of inner edges that it reaches."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    kind, parts = number_type(operator.inputs), []
    for (column, _), edges in zip(nodes.columns(operator.inputs), own.bin_edges_, strict=True):
        column = nodes.cast(nodes.cast(column, own.dtype or kind), "float64")
        place = _count(nodes, nodes.add("GreaterOrEqual", column, np.array([edges[1:-1]], np.float64)))
        if own.encode != "ordinal":
            place = nodes.add("Equal", place, whole([range(len(edges) - 1)]))
        parts.append(nodes.cast(place, kind))
    nodes.side_by_side(parts, result=operator.outputs[0].full_name)


def binned_shapes(operator: Any) -> None:
    """Set the type of ``binned``."""
    own = operator.raw_operator
    width = len(own.n_bins_) if own.encode == "ordinal" else sum(map(int, own.n_bins_))
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), width)


def threshold(scope: Any, operator: Any, container: Any) -> None:
    """Convert a Binarizer: 1 for numbers above its threshold."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    above = nodes.add("Greater", nodes.joined(operator.inputs, "float64"), np.array([[own.threshold]], np.float64))
    nodes.cast(above, number_type(operator.inputs), result=operator.outputs[0].full_name)


def threshold_shapes(operator: Any) -> None:
    """Set the type of ``threshold``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), operator.raw_operator.n_features_in_)


def _count(nodes: Nodes, truths: str) -> str:
    """Return how many of each row are true, (batch, 1)."""
    return nodes.add("ReduceSum", nodes.cast(truths, "int64"), whole([1]), keepdims=1)
