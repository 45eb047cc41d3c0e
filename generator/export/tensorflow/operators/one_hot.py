"""One-hot vectors: tf2onnx counts indices below zero from the end, where TensorFlow sets nothing. No issue known."""

from modelrepo.generator.export.tensorflow.operators.site import Site


def one_hot(site: Site) -> None:
    """Write whether each index equals each place, at any depth and on any axis."""
    import numpy as np

    indices, depth, on, off = site.inputs
    axis = site.attribute("axis", -1)
    rank = site.rank(0)
    if rank is None and axis != -1:
        raise ValueError("the number of dimensions of its indices is unknown")
    indices = site.cast(indices, "INT64")
    limits = [site.constant(np.array(0, np.int64)), _scalar(site, depth), site.constant(np.array(1, np.int64))]
    places = site.node("Range", *limits)
    if axis != -1 and axis != rank:
        places = site.node("Reshape", places, site.whole(-1, *[1] * (rank - axis)))
    found = site.node("Equal", site.node("Unsqueeze", indices, site.whole(axis)), places)
    site.answer(site.choose(found, on, off))


def _scalar(site: Site, number: str) -> str:
    return site.node("Reshape", site.cast(number, "INT64"), site.whole())
