"""Choices by element: tf2onnx writes c · x + (1 - c) · y, which is NaN where the value not chosen is infinite or NaN.

No issue known: it does so on purpose, since Where was slow in ONNX Runtime.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def select(site: Site, *, whole_rows: bool = False) -> None:
    """Write tf.where of three arguments; in tf.compat.v1.where, a condition of one dimension chooses ``whole_rows``."""
    condition, yes, no = site.inputs
    rank = site.rank(1) if site.rank(1) is not None else site.rank(2)
    if whole_rows and site.rank(0) == 1 and rank != 1:
        if rank is None:
            raise ValueError("the number of dimensions that it chooses from is unknown")
        condition = site.node("Unsqueeze", condition, site.whole(*range(1, rank)))
    site.answer(site.choose(condition, yes, no))


def band_part(site: Site) -> None:
    """Write a matrix with zeros outside of a band; tf2onnx multiplies by 0, which keeps NaN and infinities."""
    matrix, lower, upper = site.inputs
    size = site.node("Shape", matrix)
    rows, columns = (_numbered(site, size, axis) for axis in (-2, -1))
    below = site.node("Sub", site.node("Unsqueeze", rows, site.whole(1)), columns)
    kept = [_within(site, below, lower), _within(site, site.node("Neg", below), upper)]
    site.answer(site.choose(site.node("And", *kept), matrix, site.number(0)))


def _numbered(site: Site, size: str, axis: int) -> str:
    import numpy as np

    count = site.node("Gather", size, site.constant(np.array(axis, np.int64)))
    return site.node("Range", site.constant(np.array(0, np.int64)), count, site.constant(np.array(1, np.int64)))


def _within(site: Site, distance: str, limit: str) -> str:
    """Write whether a distance is at most a limit; a negative limit is none."""
    limit = site.cast(limit, "INT64")
    return site.node("Or", site.node("Less", limit, site.whole(0)), site.node("LessOrEqual", distance, limit))
