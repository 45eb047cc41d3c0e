"""Comparisons: tf2onnx casts whole numbers to float32 before < and >, and texts to int32 before = (no issue known).

Numbers above 2^24 are then equal to their neighbours, and a text that is not a number fails.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def ordered(operator: str, site: Site) -> None:
    """Write a comparison as it is, of whole numbers as int64: tf2onnx makes loop counters int64 afterwards."""
    wide = site.dtype(site.inputs[0]).kind in "iu" and site.dtype(site.inputs[0]).name != "uint64"
    site.answer(site.node(operator, *(site.cast(each, "INT64") if wide else each for each in site.inputs)))


def equal(site: Site) -> None:
    """Write whether two values are equal."""
    site.answer(_equal(site))


def not_equal(site: Site) -> None:
    """Write whether two values differ."""
    site.answer(site.node("Not", _equal(site)))


def _equal(site: Site) -> str:
    """Write equality; a text is looked up in a table of one, since ONNX compares no texts before opset 19."""
    if site.dtype(site.inputs[0]).kind != "O":
        return site.node("Equal", *site.inputs)
    constants = [site.known(place) for place in (0, 1)]
    texts, only = next(
        (
            (site.inputs[1 - place], value.reshape(-1)[0])
            for place, value in enumerate(constants)
            if value is not None and value.size == 1
        ),
        (None, None),
    )
    if texts is None:
        raise ValueError("can't compare texts that aren't constant")
    key = only.decode() if isinstance(only, bytes) else str(only)
    label = {"keys_strings": [key], "values_int64s": [1], "default_int64": 0}
    return site.cast(site.node("LabelEncoder", texts, domain="ai.onnx.ml", **label), "BOOL")
