"""Sums and other figures by segment, and scattered sums.

tf2onnx counts segments below zero from the end, where TensorFlow leaves them out. It gives empty segments ±infinity or
NaN, where TensorFlow gives 0 or the largest finite number. It keeps the last of several values with one index, where
TensorFlow adds them. No issue known.
"""

from dataclasses import replace
from typing import Any

from modelrepo.generator.export.tensorflow.operators.site import Site

# ONNX Runtime's reduction of each operator, without the names' beginnings.
REDUCTIONS = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min", "Mean": "add", "SqrtN": "add"}
END = 2**63 - 1


def unsorted(figure: str, site: Site) -> None:
    """Write UnsortedSegment…: the number of segments is given, and segments below zero are left out."""
    data, _, count = site.inputs
    if site.rank(1) is None:
        raise ValueError("the number of dimensions of its segments is unknown")
    count = site.node("Reshape", site.cast(count, "INT64"), site.whole(1))
    site.answer(_figures(site, figure, count, _empty(figure, site.dtype(data), finite=True), site.rank(1)))


def by_order(figure: str, site: Site) -> None:
    """Write Segment…: there are as many segments as the last one says, and those without values are 0."""
    _by_order(site, figure)


def gathered(figure: str, site: Site) -> None:
    """Write SparseSegment…: as Segment…, of the rows that indices name; SqrtN divides by the root of their number."""
    data, indices, segments = site.inputs
    rows = site.node("Gather", data, site.cast(indices, "INT64"), axis=0)
    shape = site.graph.get_shape(data)
    if shape is not None:
        site.graph.set_shape(rows, [-1, *shape[1:]])
    _by_order(replace(site, inputs=(rows, segments)), figure)


def _by_order(site: Site, figure: str) -> None:
    data, segments = site.inputs
    one = site.whole(1)
    ids = site.cast(segments, "INT64")
    last = site.node("ReduceMax", site.node("Concat", ids, site.whole(-1), axis=0), keepdims=1)
    count = site.node("Add", last, one)
    figures = _figures(site, figure, count, _empty(figure, site.dtype(data), finite=False), 1)
    if figure in ("Sum", "Prod"):
        site.answer(figures)
        return
    ones = site.node("Expand", one, site.node("Shape", ids))
    sizes = site.node("ScatterElements", _filled(site, site.whole(0), count), ids, ones, axis=0, reduction="add")
    columns = site.whole(-1, *[1] * ((site.rank(0) or 1) - 1))
    sizes = site.node("Reshape", sizes, columns)
    if figure in ("Mean", "SqrtN"):
        divisor = site.cast(site.node("Max", sizes, one), site.kind)
        divisor = site.node("Sqrt", divisor) if figure == "SqrtN" else divisor
        site.answer(site.node("Div", figures, divisor))
    else:
        site.answer(site.choose(site.node("Equal", sizes, site.whole(0)), site.number(0), figures))


def scatter_nd(site: Site) -> None:
    """Write tf.scatter_nd, which adds values with one index."""
    indices, values, shape = site.inputs
    zeros = _filled(site, site.number(0, values), site.cast(shape, "INT64"))
    reduction = "none" if site.dtype(values).kind not in "fiu" else "add"
    site.answer(site.node("ScatterND", zeros, site.cast(indices, "INT64"), values, reduction=reduction))


def dense_bincount(site: Site) -> None:
    """Write how often each number occurs, in all or by row; tf2onnx counts rows as one, and has no weights."""
    numbers, size, weights = site.inputs
    size = site.node("Reshape", site.cast(size, "INT64"), site.whole(1))
    ids, shape = site.cast(numbers, "INT64"), site.node("Shape", numbers)
    beyond = site.node("Min", ids, size)  # those that are too large are counted in a place that is cut off
    rows = site.node("Slice", shape, site.whole(0), site.whole(-1))
    wider = site.node("Concat", rows, site.node("Add", size, site.whole(1)), axis=0)
    given = site.graph.get_shape(weights) not in ([0], None) and not site.attribute("binary_output")
    added = weights if given else site.node("Expand", site.number(1, weights), shape)
    reduction = "none" if site.attribute("binary_output") else "add"
    zeros = _filled(site, site.number(0, weights), wider)
    counts = site.node("ScatterElements", zeros, beyond, added, axis=-1, reduction=reduction)
    site.answer(site.node("Slice", counts, site.whole(0), size, site.whole(-1)))


def _figures(site: Site, figure: str, count: str, empty: Any, taken: int | None) -> str:
    """Write the figures of each segment; the first ``taken`` dimensions of the data are those of its segments."""
    data, segments = site.inputs[:2]
    ids = site.node("Reshape", site.cast(segments, "INT64"), site.whole(-1))
    rest = site.node("Slice", site.node("Shape", data), site.whole(taken or 0), site.whole(END))
    width = site.whole(1) if site.rank(0) == taken else site.node("ReduceProd", rest, keepdims=1)
    grid = site.node("Concat", site.node("Shape", ids), width, axis=0)
    left_out = site.choose(site.node("Less", ids, site.whole(0)), count, ids)
    places = site.node("Expand", site.node("Unsqueeze", left_out, site.whole(1)), grid)
    wider = site.node("Concat", site.node("Add", count, site.whole(1)), width, axis=0)
    start = _filled(site, site.constant(empty), wider)
    values = site.node("Reshape", data, grid, allowzero=1)
    found = site.node("ScatterElements", start, places, values, axis=0, reduction=REDUCTIONS[figure])
    kept = site.node("Slice", found, site.whole(0), count, site.whole(0))
    return site.node("Reshape", kept, site.node("Concat", count, rest, axis=0), allowzero=1)


def _filled(site: Site, value: str, shape: str) -> str:
    return site.node("Expand", value, shape)


def _empty(figure: str, dtype: Any, *, finite: bool) -> Any:
    """Return the figure of no values: 0, 1, or the smallest or largest number."""
    import numpy as np

    if figure in ("Max", "Min"):
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        value = limits.min if figure == "Max" else limits.max
        if dtype.kind == "f" and not finite:
            value = -np.inf if figure == "Max" else np.inf
        return np.array(value, dtype)
    return np.array(1 if figure == "Prod" else 0, dtype)
