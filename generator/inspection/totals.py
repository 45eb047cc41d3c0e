"""Sums over an inspection: weights by type and by layer, what is shared, releases as ranges."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from modelrepo.generator.graphs.edit import WEIGHT_ELEMENTS
from modelrepo.generator.inspection.inspection import Dim, Weight
from modelrepo.generator.triton.releases import RELEASES

UNITS = ("bytes", "kB", "MB", "GB", "TB")
# The layer of weights that no node uses.
UNUSED = "(not used)"
# Characters of a size's name.
LONGEST = 32


@dataclass(frozen=True)
class Total:
    """The weights of one type, or of one layer."""

    name: str
    tensors: int
    parameters: int
    bytes: int


def by_type(weights: Iterable[Weight]) -> tuple[Total, ...]:
    """Return the weights of each data type, the largest first."""
    return _totals(weights, lambda weight: weight.data_type)


def by_layer(weights: Iterable[Weight]) -> tuple[Total, ...]:
    """Return the weights of each layer, the largest first."""
    return _totals(weights, lambda weight: weight.layer or UNUSED)


def _totals(weights: Iterable[Weight], key: Callable[[Weight], str]) -> tuple[Total, ...]:
    found: dict[str, list[Weight]] = {}
    for weight in weights:
        found.setdefault(key(weight), []).append(weight)
    totals = (
        Total(name, len(each), sum(weight.parameters for weight in each), sum(weight.bytes for weight in each))
        for name, each in found.items()
    )
    return tuple(sorted(totals, key=lambda total: (-total.bytes, -total.parameters)))


def shared(weights: Iterable[Weight]) -> tuple[Weight, ...]:
    """Return the weights that several nodes use, the largest first; a few numbers are a setting, and left out."""
    found = (each for each in weights if each.shared_by > 1 and each.parameters >= WEIGHT_ELEMENTS)
    return tuple(sorted(found, key=lambda each: -each.bytes))


def size(count: int) -> str:
    """Return a number of bytes for people, such as 46.8 MB."""
    value, unit = float(count), UNITS[0]
    for unit in UNITS:
        if value < 999.95 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{count:,} {unit}" if unit == UNITS[0] else f"{value:.1f} {unit}"


def shape(dims: Sequence[Dim] | None) -> str:
    """Return a shape, with "?" for an open size without a name; long names, which are formulas, are cut."""
    return "unknown" if dims is None else f"[{', '.join(map(_dim, dims))}]"


def _dim(dim: Dim) -> str:
    text = "?" if dim is None else str(dim)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def releases(found: Sequence[str]) -> str:
    """Return releases as ranges, such as "24.10 to 26.02"; those between which none is known are one range."""
    known = sorted(RELEASES)
    if set(found) == set(known):
        return "all"
    runs: list[list[str]] = []
    for number, release in enumerate(known):
        if release not in found:
            continue
        if runs and runs[-1][-1] == known[number - 1]:
            runs[-1].append(release)
        else:
            runs.append([release])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
