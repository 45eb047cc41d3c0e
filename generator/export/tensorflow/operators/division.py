"""Division and remainder: tf2onnx rounds quotients of whole numbers towards zero where TensorFlow rounds down.

onnx/tensorflow-onnx#2174. Remainders of floats it computes as x - floor(x / y) · y, which loses all digits of a large
quotient, and answers NaN for infinite divisors.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def floor_div(site: Site) -> None:
    """Write floor(x / y)."""
    x, y = site.inputs
    if site.dtype(x).kind == "f":
        site.answer(site.node("Floor", site.node("Div", x, y)))
        return
    quotient = _quotient(site)
    if site.dtype(x).kind == "i":
        left = site.node("Sub", x, site.node("Mul", quotient, y))
        lower = site.node("Sub", quotient, site.number(1))
        quotient = site.choose(_against(site, left, y), lower, quotient)
    site.answer(quotient)


def truncate_div(site: Site) -> None:
    """Write the quotient of whole numbers, rounded towards zero, or that of floats."""
    site.answer(site.node("Div", *site.inputs) if site.dtype(site.inputs[0]).kind == "f" else _quotient(site))


def floor_mod(site: Site) -> None:
    """Write the remainder with the sign of the divisor."""
    x, y = site.inputs
    if site.dtype(x).kind != "f":
        site.answer(site.node("Mod", x, y))
        return
    left = site.node("Mod", x, y, fmod=1)
    site.answer(site.choose(_against(site, left, y), site.node("Add", left, y), left))


def truncate_mod(site: Site) -> None:
    """Write the remainder with the sign of the dividend."""
    x, y = site.inputs
    if site.dtype(x).kind == "f":
        site.answer(site.node("Mod", x, y, fmod=1))
    else:
        site.answer(site.node("Sub", x, site.node("Mul", _quotient(site), y)))


def _against(site: Site, left: str, divisor: str) -> str:
    """Write whether a remainder is not zero and has another sign than the divisor."""
    zero = site.number(0)
    signs = site.node("Xor", site.node("Less", left, zero), site.node("Less", divisor, zero))
    return site.node("And", signs, site.node("Not", site.node("Equal", left, zero)))


def _quotient(site: Site) -> str:
    """Write x / y of whole numbers, rounded towards zero.

    -x stands for x / -1: the smallest number divided by -1 ends ONNX Runtime's process.
    """
    x, y = site.inputs
    divisor = site.known(1)
    if site.dtype(x).kind == "u" or (divisor is not None and -1 not in divisor):
        return site.node("Div", x, y)
    turned = site.node("Equal", y, site.number(-1))
    return site.choose(turned, site.node("Neg", x), site.node("Div", x, site.choose(turned, site.number(1), y)))
