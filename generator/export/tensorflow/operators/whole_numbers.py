"""Large whole numbers: ONNX Runtime adds them in float64, and tf2onnx sorts them in float32. No issue known."""

from modelrepo.generator.export.tensorflow.operators.site import Site

# Half the bits of int64: parts of a number that float64 adds exactly, a million of them.
HALF = 1 << 32


def sum_of(site: Site) -> None:
    """Write a sum that is exact, and overflows as TensorFlow's does."""
    x = site.inputs[0]
    dtype = site.dtype(x)
    if dtype.kind == "f":
        site.answer(_sum(site, x))
        return
    wide = x if dtype.itemsize == 8 else site.cast(x, "INT64")
    if dtype.kind == "i" and dtype.itemsize == 8:
        half = site.number(HALF)
        low = site.node("Mod", x, half)
        high = site.node("Div", site.node("Sub", x, low), half)
        wide = site.node("Add", site.node("Mul", _sum(site, high), half), _sum(site, low))
    else:
        wide = _sum(site, wide)
    site.answer(site.cast(wide, site.kind))


def top_k(site: Site) -> None:
    """Write the largest numbers and their places; of equal ones the first, as TensorFlow does."""
    numbers, count = site.inputs
    dtype, kind = site.dtype(numbers), site.graph.get_dtype(numbers)
    narrow = dtype.kind in "iu" and dtype.itemsize < 8 and dtype.name != "int32"
    given = site.cast(numbers, "INT64") if narrow else numbers
    count = site.node("Reshape", site.cast(count, "INT64"), site.whole(1))
    values, places = site.nodes("TopK", given, count, count=2, axis=-1, largest=1, sorted=1)
    index = site.graph.get_dtype(site.outputs[1])
    site.answer(site.cast(values, kind) if narrow else values, site.cast(places, index))


def _sum(site: Site, x: str) -> str:
    kept = int(bool(site.attribute("keep_dims", 0)))
    return site.node("ReduceSum", x, site.axes(1), keepdims=kept, noop_with_empty_axes=1)
