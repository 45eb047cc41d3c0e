"""Rounding to a quantized range: tf2onnx rounds halves and the range's ends to other steps. No issue known."""

from typing import Any

from modelrepo.generator.export.tensorflow.operators.site import Site


def fake_quantized(site: Site) -> None:
    """Write each number rounded to the steps of its range, which is moved so that 0 is a step.

    The formula is that of TensorFlow's kernel (FakeQuantWithMinMaxArgs and -Vars, of all or by channel).
    """
    import numpy as np

    x = site.inputs[0]
    if len(site.inputs) == 1:
        low, high = (np.array(site.attribute(name, default), np.float32) for name, default in (("min", -6), ("max", 6)))
    else:
        low, high = (site.known(place) for place in (1, 2))
        if low is None or high is None:
            raise ValueError("its range is not constant")
    least, most, step = _nudged(low, high, site.attribute("num_bits", 8), bool(site.attribute("narrow_range", 0)))
    held = site.node("Min", site.node("Max", x, site.constant(least)), site.constant(most))
    steps = site.node("Mul", site.node("Sub", held, site.constant(least)), site.constant(np.float32(1) / step))
    whole = site.node("Floor", site.node("Add", steps, site.number(0.5)))
    site.answer(site.node("Add", site.node("Mul", whole, site.constant(step)), site.constant(least)))


def _nudged(low: Any, high: Any, bits: int, narrow: bool) -> tuple[Any, Any, Any]:
    """Return the ends of a range and its step, so that 0 is a step of it; float32 as in TensorFlow's Nudge."""
    import numpy as np

    first, last = np.float32(1 if narrow else 0), np.float32(2**bits - 1)
    step = (np.float32(1) * (high - low) / (last - first)).astype(np.float32)
    zero = (first - low / step).astype(np.float32)
    # std::round, which rounds halves away from zero
    at = np.where(zero < first, first, np.where(zero > last, last, np.floor(zero + np.float32(0.5)))).astype(np.float32)
    return ((first - at) * step).astype(np.float32), ((last - at) * step).astype(np.float32), step
