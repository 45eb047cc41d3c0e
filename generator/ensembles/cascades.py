"""A small model first, and a large one where it is unsure: the threshold, chosen and judged on labelled samples."""

import math
from dataclasses import dataclass

import numpy as np

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification.accuracy import ENOUGH

# The quantile of the normal distribution for intervals of 95 %.
QUANTILE = 1.959964
# The standard errors that 95 % of estimates are not above the truth by. Thresholds that were chosen with it kept what
# was asked for in 92 % of 1,800 simulated cascades, for 64 to 2,000 choosing samples; without it, in half of them.
MARGIN = 1.645
# Half of the samples choose a threshold, the others judge it.
HALVES = 2
# For products of shares and counts that are whole numbers but for rounding.
ROUNDING = 1e-9
# A threshold that no sample is below: every sample stays with the small model unless its answer is NaN.
NEVER = 0.0


@dataclass(frozen=True)
class Asked:
    """What two models answer to labelled samples: arrays with an element for each sample."""

    sure: Array  # the small model's largest probability; NaN if its answer has NaN
    small: Array  # whether the small model is right
    large: Array  # whether the large model is right

    def only(self, rows: Array) -> "Asked":
        """Return the samples with these numbers."""
        return Asked(self.sure[rows], self.small[rows], self.large[rows])

    def stays(self, threshold: float) -> Array:
        """Whether each sample stays with the small model: one with NaN never does."""
        return np.asarray(self.sure >= threshold)


@dataclass(frozen=True)
class Proportion:
    """A count of a number of samples, as a share with its interval."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """The share, 0..1."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 % for the share of all such samples: it stays within 0..1 for few samples, too."""
        square = QUANTILE**2
        middle = (self.share + square / (2 * self.of)) / (1 + square / self.of)
        spread = math.sqrt(self.share * (1 - self.share) / self.of + square / (4 * self.of**2))
        half = QUANTILE * spread / (1 + square / self.of)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """In words."""
        low, high = self.interval
        return f"{self.share:.1%} ({100 * low:.1f} to {100 * high:.1f} %)"


@dataclass(frozen=True)
class Judged:
    """What a cascade does with labelled samples that did not choose its threshold."""

    threshold: float
    to_large: Proportion
    small: Proportion
    large: Proportion
    cascade: Proportion
    chosen_on: int = 0  # how many other samples chose the threshold; 0: the user gave it

    def __str__(self) -> str:
        """In words, for a note."""
        chosen = f", chosen on {self.chosen_on} others" if self.chosen_on else ""
        return (
            f"on {self.cascade.of} labelled samples with the threshold {self.threshold:.4g}{chosen}: {self.to_large} "
            f"go to the large model; right: small {self.small}, large {self.large}, cascade {self.cascade}; "
            "intervals of 95 %"
        )


def threshold(asked: Asked, keep: float, margin: float = 0.0) -> float:
    """Return the lowest threshold that keeps the share ``keep`` of the large model's right answers.

    A sample goes to the large model if the small one's largest probability is below the threshold, or NaN. Algorithm:
    the samples pass to the small model from the surest on, those of equal probability together. It goes on as long as
    the cascade has at least ``keep`` times as many right answers as the large model alone, and stops before the first
    step that has fewer: a later rise above the limit by luck does not count. With a ``margin``, it must have so many
    standard errors more, of the difference sample by sample. The threshold is in the middle between the last
    probability that stays and the first that goes, so that rounding in the server sends no sample the other way; NEVER
    if all stay but those with NaN.

    What it guarantees: on these samples, the cascade with this threshold, or with any higher one, has at least ``keep``
    times the right answers of the large model. For others it is an estimate, and without a margin an optimistic one:
    judge it on samples that did not choose it, as ``chosen`` does. It compares probabilities with each other only: they
    need not be calibrated.

    ``keep`` is in 0..1. Raises OptionError if the large model has no right answer, and if no sample may stay or all
    may.
    """
    right = int(asked.large.sum())
    if not right:
        raise OptionError("can't choose a threshold: the large model is right in none of the samples")
    levels = np.unique(asked.sure[~np.isnan(asked.sure)])[::-1]
    answers, staying = asked.large.astype(np.float64), 0
    for level in levels:
        here = asked.sure == level
        answers[here] = asked.small[here]
        if not _keeps(answers - keep * asked.large, margin):
            break
        staying += 1
    if not staying:
        raise OptionError(
            f"can't choose a threshold that keeps {keep:.4g} of the large model's accuracy: where the small model is "
            "surest, it is wrong too often",
            "Lower keep_accuracy, give more samples, or serve the large model alone",
        )
    if staying == len(levels) and np.isnan(asked.sure).any():
        return NEVER
    if staying == len(levels):
        small = Proportion(int(asked.small.sum()), len(asked.small))
        raise OptionError(
            f"no sample needs the large model: the small one alone is right in {small.share:.1%}, the large one in "
            f"{right / len(asked.large):.1%}",
            "Serve the small model alone, raise keep_accuracy, or give the threshold as sure",
        )
    stays, goes = float(levels[staying - 1]), float(levels[staying])
    middle = (stays + goes) / 2
    return middle if goes < middle else stays


def _keeps(differences: Array, margin: float) -> bool:
    """Whether the sum of differences is not below 0, by a margin in standard errors of that sum."""
    error = float(differences.std()) * math.sqrt(len(differences))
    return float(differences.sum()) + ROUNDING >= margin * error


def chosen(asked: Asked, keep: float, seed: int = 0) -> Judged:
    """Choose a threshold on a random half of the samples, and return it as judged on the other half.

    The second half had no part in the choice, so its accuracy is not optimistic. The same seed draws the same halves.
    It keeps a MARGIN: without one, the other half would show less than was asked for in every second case. Raises
    OptionError for fewer than 2 · ENOUGH samples, and as ``threshold`` does.
    """
    count = len(asked.sure)
    if count < HALVES * ENOUGH:
        raise OptionError(
            f"can't choose a threshold on {count} labelled samples",
            f"Give {HALVES * ENOUGH} or more, or the threshold as sure",
        )
    order = np.random.default_rng(seed).permutation(count)
    choosing, judging = np.sort(order[: count // HALVES]), np.sort(order[count // HALVES :])
    return judged(asked.only(judging), threshold(asked.only(choosing), keep, MARGIN), chosen_on=len(choosing))


def judged(asked: Asked, threshold: float, *, chosen_on: int = 0) -> Judged:
    """Return what a cascade with a threshold does with labelled samples."""
    stays, count = asked.stays(threshold), len(asked.sure)
    return Judged(
        threshold,
        to_large=Proportion(int((~stays).sum()), count),
        small=Proportion(int(asked.small.sum()), count),
        large=Proportion(int(asked.large.sum()), count),
        cascade=Proportion(int(np.where(stays, asked.small, asked.large).sum()), count),
        chosen_on=chosen_on,
    )


def falls_short(found: Judged, keep: float) -> str:
    """Return a note if the samples that judged a threshold do not confirm what it was chosen for, else nothing."""
    if found.cascade.count >= math.ceil(keep * found.large.count - ROUNDING):
        return ""
    kept = found.cascade.count / found.large.count
    return (
        f"on the samples that did not choose the threshold, the cascade keeps {kept:.4g} of the large model's "
        f"accuracy, less than the {keep:.4g} that were asked for: raise keep_accuracy, or give more samples"
    )
