"""Colours: their hue and their saturation.

tf2onnx saturates colours that are not between 0 and 1, such as 0 to 255, wrongly, and turns a hue by one turn at most.
No issue known.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def saturation(site: Site) -> None:
    """Write AdjustSaturation: the distance of the channels to the largest times a factor, at most the largest."""
    red, green, blue, largest, spread = _channels(site)
    factor, zero, one = site.inputs[1], site.number(0), site.number(1)
    above = site.node("Greater", largest, zero)
    share = site.choose(above, site.node("Div", spread, site.choose(above, largest, one)), zero)
    kept = site.node("Clip", site.node("Mul", share, _as(site, factor)), zero, one)
    wanted = site.node("Mul", kept, largest)
    site.answer(_coloured(site, _hue(site, red, green, blue, largest, spread), largest, wanted))


def hue(site: Site) -> None:
    """Write AdjustHue: the hue is turned by a part of a whole turn, which is 6 here."""
    red, green, blue, largest, spread = _channels(site)
    turned = site.node("Mul", _as(site, site.inputs[1]), site.number(6))
    found = site.node("Add", _hue(site, red, green, blue, largest, spread), turned)
    turns = site.node("Floor", site.node("Div", found, site.number(6)))
    site.answer(_coloured(site, site.node("Sub", found, site.node("Mul", turns, site.number(6))), largest, spread))


def _as(site: Site, number: str) -> str:
    """Return a number, which TensorFlow has as float32, in the type of the images."""
    return site.cast(number, site.graph.get_dtype(site.inputs[0]))


def _channels(site: Site) -> tuple[str, str, str, str, str]:
    """Return red, green and blue, the largest of them, and its distance to the smallest, each with one channel."""
    red, green, blue = (site.node("Gather", site.inputs[0], site.whole(each), axis=-1) for each in range(3))
    largest, smallest = (site.node(each, red, green, blue) for each in ("Max", "Min"))
    return red, green, blue, largest, site.node("Sub", largest, smallest)


def _hue(site: Site, red: str, green: str, blue: str, largest: str, spread: str) -> str:
    """Return the hue from 0 to 6: red is 0, green 2, blue 4; that of a grey is 0."""
    zero = site.number(0)
    grey = site.node("LessOrEqual", spread, zero)
    divisor = site.choose(grey, site.number(1), spread)

    def part(one: str, other: str, start: int) -> str:
        return site.node("Add", site.node("Div", site.node("Sub", one, other), divisor), site.number(start))

    is_red, is_green = (site.node("Equal", each, largest) for each in (red, green))
    others = site.choose(is_green, part(blue, red, 2), part(red, green, 4))
    found = site.choose(is_red, part(green, blue, 0), others)
    below = site.node("Less", found, zero)
    return site.choose(grey, zero, site.choose(below, site.node("Add", found, site.number(6)), found))


def _coloured(site: Site, hue: str, largest: str, spread: str) -> str:
    """Return the three channels of a hue, of the largest channel, and of its distance to the smallest."""
    smallest = site.node("Sub", largest, spread)
    one, two, zero = (site.number(each) for each in (1, 2, 0))

    def away(center: int) -> str:
        return site.node("Abs", site.node("Sub", hue, site.number(center)))

    shares = (site.node("Sub", away(3), one), *(site.node("Sub", two, away(center)) for center in (2, 4)))
    parts = (site.node("Mul", site.node("Clip", share, zero, one), spread) for share in shares)
    return site.node("Concat", *(site.node("Add", smallest, part) for part in parts), axis=-1)
