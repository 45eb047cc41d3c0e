"""The digits that numbers lose in the types of a model's inputs, and how that changes the source's answers.

A decimal such as 55.8 is not a float32 number. A pipeline that scales in float64, and then compares with a threshold
that lies on a decimal, answers the rounded number differently.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelrepo.generator.errors import InputRefused
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.verification.comparison import Comparison, largest_difference, largest_magnitude
from modelrepo.generator.verification.inputs import Pool, drawn
from modelrepo.generator.verification.verify import Run

# Rows of decimals that are generated, and fewer of many columns: at most so many numbers. Of the rows of a gradient
# booster of 100 trees, 3 in 1000 met a threshold.
ROWS, NUMBERS = 2048, 1 << 20
# The most of the user's samples that are asked, evenly spaced, and how many at once.
MOST, AT_ONCE = 10_000, 2048
# Up to this share of generated rows may be an accident.
SHARE = 1e-3
# So many of the rows with another answer are compared with the converted model.
KEPT = 32


@dataclass(frozen=True)
class Loss:
    """The rows to which a source gives another answer if their numbers are rounded."""

    rows: Pool  # with all their digits
    asked: int  # how many rows there were
    worst: float  # the largest difference, as a share of the largest number of the answer
    labels: int  # how many rows get another label
    of: str  # what the rows are

    @property
    def count(self) -> int:
        """The number of rows with another answer."""
        return len(self.rows.families)

    @property
    def kept(self) -> Pool:
        """Some of the rows, the first of them."""
        return self.rows.only(range(min(KEPT, self.count)))

    def __str__(self) -> str:
        """In words."""
        if not self.count:
            return f"none of {self.asked} {self.of} gets another answer"
        ways = [f"worst {self.worst:.1%}"] if self.worst else []
        ways += [f"{self.labels} of another class"] if self.labels or not self.worst else []
        verb = "gets" if self.count == 1 else "get"
        return f"{self.count} of {self.asked} {self.of} {verb} another answer ({', '.join(ways)})"


def decimals(inputs: Sequence[TensorSpec], seed: int) -> Pool:
    """Return generated rows whose float64 numbers lie in the fitted ranges and have few decimals, as users' have.

    They have one decimal or two; with a spread below 0.1, as many as tell the numbers apart.
    """
    width = sum(int(dim) for spec in inputs for dim in spec.shape[1:])
    pool = drawn(inputs, max(1, min(ROWS, NUMBERS // max(1, width))), seed)
    rounded = {spec.name: _few_digits(pool.arrays[spec.name], spec) for spec in inputs if spec.dtype == "float64"}
    return Pool({**pool.arrays, **rounded}, tuple(f"decimals {row + 1}" for row in range(len(pool.families))))


def _few_digits(array: Array, spec: TensorSpec) -> Array:
    if spec.domain.choices:
        return array
    spread = np.array(spec.domain.spread or (1.0,))
    least = np.maximum(1, -np.floor(np.log10(spread)))
    steps = 10.0 ** (least + np.arange(len(array))[:, np.newaxis] % 2)
    few: Array = np.clip(np.round(array * steps) / steps, spec.domain.low, spec.domain.high)
    return few


def spaced(pool: Pool) -> Pool:
    """Return at most MOST rows of a pool, evenly spaced."""
    count = len(pool.families)
    return pool if count <= MOST else pool.only(np.linspace(0, count - 1, MOST).astype(int).tolist())


def loss(run: Run, exact: Pool, inputs: Sequence[TensorSpec], tolerance: Tolerance | None, of: str) -> Loss | None:
    """Return what a source answers differently if numbers are rounded to the types of ``inputs``.

    ``exact`` has them in types that hold all their digits, which the source takes as well. None if the types of the
    inputs hold all digits, or if the source refuses some row. Answers differ as in verification: by more than the
    tolerance, and not between equal scores.
    """
    rounded = _rounded(exact, inputs)
    places = _changed(exact, rounded, inputs)
    if not places:
        return None
    try:
        wanted, got = (_answers(run, pool.only(places)) for pool in (exact, rounded))
    except InputRefused:
        return None
    differing = dict(_differing(wanted, got, exact.only(places), tolerance))
    found = exact.only([places[row] for row in differing])
    worst = max((gap for gap, _ in differing.values()), default=0.0)
    return Loss(found, len(exact.families), worst, sum(other for _, other in differing.values()), of)


def _rounded(exact: Pool, inputs: Sequence[TensorSpec]) -> Pool:
    with np.errstate(over="ignore"):
        arrays = {spec.name: exact.arrays[spec.name].astype(spec.dtype) for spec in inputs if spec.name in exact.arrays}
    return Pool({**exact.arrays, **arrays}, exact.families)


def _changed(exact: Pool, rounded: Pool, inputs: Sequence[TensorSpec]) -> list[int]:
    """Return the rows that hold a number that rounding changes."""
    changed = np.zeros(len(exact.families), bool)
    for spec in inputs:
        own = exact.arrays.get(spec.name)
        if own is not None and own.dtype.kind in "fiu":
            differs = (rounded.arrays[spec.name].astype(own.dtype) != own) & (own == own)
            changed |= differs.reshape(len(own), -1).any(axis=1)
    return np.flatnonzero(changed).tolist()


def _answers(run: Run, pool: Pool) -> Mapping[str, Array]:
    count = len(pool.families)
    parts = [run(pool.rows(range(start, min(start + AT_ONCE, count)))) for start in range(0, count, AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _differing(
    wanted: Arrays, got: Arrays, pool: Pool, tolerance: Tolerance | None
) -> Iterator[tuple[int, tuple[float, bool]]]:
    """Yield each row with another answer: by what share of it the numbers differ, and whether a label does."""
    comparison = Comparison(tolerance)
    rows = range(len(pool.families))
    comparison.learn({name: [answers[row, ...] for row in rows] for name, answers in wanted.items()}, pool)
    for row in rows:
        share, other = 0.0, False
        for name, answers in wanted.items():
            one, two = answers[row, ...], got[name][row, ...]
            gap, _ = largest_difference(one, two, equal_nan=True)
            if gap <= comparison.limit(name, one) or comparison.undecided(wanted, got, row, name) != "no":
                continue
            if one.dtype.kind == "f":
                share = max(share, gap / (largest_magnitude(one) or 1.0))
            else:
                other = True
        if share or other:
            yield row, (share, other)
