"""Bits of whole numbers.

tf2onnx shifts int8 to the right as if it had no sign, knows no shifts of int64, and has BitwiseNot at opset 18 only. No
issue known.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def right_shift(site: Site) -> None:
    """Write the shift that keeps the sign: ONNX shifts numbers without a sign only, so those below zero are turned."""
    number, amount = _operands(site)
    if site.dtype(site.inputs[0]).kind == "u":
        site.answer(site.cast(_shifted(site, number, amount, "RIGHT"), site.kind))
        return
    negative = site.node("Less", number, site.number(0, number))
    turned = site.choose(negative, _turned(site, number), number)
    shifted = _shifted(site, turned, amount, "RIGHT")
    site.answer(site.cast(site.choose(negative, _turned(site, shifted), shifted), site.kind))


def left_shift(site: Site) -> None:
    """Write the shift that drops the highest bits."""
    number, amount = _operands(site)
    site.answer(site.cast(_shifted(site, number, amount, "LEFT"), site.kind))


def invert(site: Site) -> None:
    """Write all bits turned: the difference to -1, or to the largest number of a type without a sign."""
    import numpy as np

    (number,) = site.inputs
    dtype = site.dtype(number)
    ones = np.iinfo(dtype).max if dtype.kind == "u" else -1
    site.answer(site.node("Sub", site.number(ones), number))


def _operands(site: Site) -> tuple[str, str]:
    """Return the number as int64 and the amount, which TensorFlow holds between 0 and the highest bit, as uint64."""
    import numpy as np

    number, amount = site.inputs
    highest = site.dtype(number).itemsize * 8 - 1
    limits = [site.constant(np.array(each, np.int64)) for each in (0, highest)]
    held = site.node("Clip", site.cast(amount, "INT64"), *limits)
    return site.cast(number, "INT64"), site.cast(held, "UINT64")


def _shifted(site: Site, number: str, amount: str, direction: str) -> str:
    shifted = site.node("BitShift", site.cast(number, "UINT64"), amount, direction=direction)
    return site.cast(shifted, "INT64")


def _turned(site: Site, number: str) -> str:
    return site.node("Sub", site.number(-1, number), number)
