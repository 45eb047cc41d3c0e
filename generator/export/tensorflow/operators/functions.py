"""Functions of numbers that tf2onnx does not know, or writes so that digits are lost or edges answer wrongly."""

from math import pi

from modelrepo.generator.export.tensorflow.operators.site import Site


def erfc(site: Site) -> None:
    """Write 1 - erf(x), for Keras's gelu."""
    site.answer(site.node("Sub", site.number(1), site.node("Erf", *site.inputs)))


def expm1(site: Site) -> None:
    """Write exp(x) - 1 as tanh(x / 2) · (exp(x) + 1), which keeps the digits of small numbers."""
    (x,) = site.inputs
    half = site.node("Tanh", site.node("Mul", x, site.number(0.5)))
    site.answer(site.node("Mul", half, site.node("Add", site.node("Exp", x), site.number(1))))


def log1p(site: Site) -> None:
    """Write log(1 + x)."""
    site.answer(_log1p(site, site.inputs[0]))


def xlogy(site: Site) -> None:
    """Write x · log(y), and 0 where x is 0."""
    x, y = site.inputs
    site.answer(_unless_zero(site, x, site.node("Mul", x, site.node("Log", y))))


def xlog1py(site: Site) -> None:
    """Write x · log(1 + y), and 0 where x is 0."""
    x, y = site.inputs
    site.answer(_unless_zero(site, x, site.node("Mul", x, _log1p(site, y))))


def xdivy(site: Site) -> None:
    """Write x / y, and 0 where x is 0."""
    x, y = site.inputs
    site.answer(_unless_zero(site, x, site.node("Div", x, y)))


def mul_no_nan(site: Site) -> None:
    """Write x · y, and 0 where y is 0."""
    x, y = site.inputs
    site.answer(_unless_zero(site, y, site.node("Mul", x, y)))


def l2_loss(site: Site) -> None:
    """Write half the sum of all squares."""
    (x,) = site.inputs
    squares = site.node("ReduceSumSquare", x, keepdims=0)
    site.answer(site.node("Mul", squares, site.number(0.5)))


def euclidean_norm(site: Site) -> None:
    """Write the root of the sum of squares."""
    x = site.inputs[0]
    squares = site.node("Mul", x, x)
    kept = int(bool(site.attribute("keep_dims", 0)))
    site.answer(site.node("Sqrt", site.node("ReduceSum", squares, site.axes(1), keepdims=kept, noop_with_empty_axes=1)))


def atan2(site: Site) -> None:
    """Write the angle of (x, y) with the signs of zeros and with infinities, which tf2onnx leaves out."""
    y, x = site.inputs
    both = site.node("And", site.node("IsInf", y), site.node("IsInf", x))
    rise, run = (site.choose(both, site.node("Sign", each), each) for each in (y, x))
    zero = site.number(0)
    left, down = (_below_zero(site, each) for each in (x, y))
    half_turn = site.choose(down, site.number(-pi), site.number(pi))
    level = site.choose(left, half_turn, y)
    angle = site.node("Atan", site.node("Div", rise, run))
    turned = site.choose(left, site.node("Add", angle, half_turn), angle)
    known = site.node("Equal", x, x)  # the angle of (NaN, 0) is NaN
    flat = site.node("And", site.node("Equal", y, zero), known)
    site.answer(site.choose(flat, level, turned))


def power(site: Site) -> None:
    """Write x to the power of y; of whole numbers by squaring: ONNX Runtime computes those in float64."""
    x, y = site.inputs
    if site.dtype(x).kind == "f":
        site.answer(site.node("Pow", x, y))
        return
    exponent = site.known(1)
    bits = int(exponent.max()).bit_length() if exponent is not None else site.dtype(x).itemsize * 8 - 1
    two, one, zero = (site.number(each) for each in (2, 1, 0))
    result = site.node("Add", site.node("Mul", site.node("Add", x, y), zero), one)  # ones of the shape of both
    for _ in range(bits):
        odd = site.node("Equal", site.node("Mod", y, two), one)
        result = site.choose(odd, site.node("Mul", result, x), result)
        x, y = site.node("Mul", x, x), site.node("Div", y, two)
    site.answer(result)


def _log1p(site: Site, x: str) -> str:
    """Write log(u) · x / (u - 1) for u = 1 + x, which keeps the digits that x loses in u."""
    u = site.node("Add", x, site.number(1, x))
    lost = site.node("Sub", u, site.number(1, x))
    log = site.node("Log", u)
    exact = site.node("Or", site.node("Equal", lost, x), site.node("IsInf", u))
    scaled = site.node("Mul", log, site.node("Div", x, lost))
    same = site.node("Equal", lost, site.number(0, x))
    return site.choose(same, x, site.choose(exact, log, scaled))


def _below_zero(site: Site, x: str) -> str:
    """Write whether a number has a minus sign, which may be that of -0."""
    zero, one = site.number(0), site.number(1)
    sign = site.choose(site.node("Equal", x, zero), site.node("Div", one, x), x)
    return site.node("Less", sign, zero)


def _unless_zero(site: Site, factor: str, product: str) -> str:
    zero = site.number(0)
    return site.choose(site.node("Equal", factor, zero), zero, product)
