"""How far apart two answers may be: the limits of each precision, and the worst difference of a comparison."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.findings import Verification, Worst
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.preparation import CLASS_MAP, CLASSES, MARGIN, SCORES
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.verification import exchanged
from modelrepo.generator.verification.inputs import RANDOM, Pool


@dataclass(frozen=True)
class Precision:
    """The differences that a number format allows."""

    tolerance: Tolerance
    rounding: float  # a difference below this share of the answer's magnitude can only be rounding


# By the type of the output. FP32: torch and ONNX Runtime differ by some millionths of the answers' magnitude
# (docs/reference/coverage.md has the figure of every classifier). 1e-3 leaves room for deep trained models on inputs
# ten times as large as usual, and is far below the effect of a wrong operator. FP16 has 11 bits: a value is rounded by
# up to 5e-4 of itself at every step that is not fused with the next.
FP32 = Precision(Tolerance(relative=1e-3), rounding=1e-5)
FP16 = Precision(Tolerance(relative=1e-2), rounding=2e-3)
# TensorRT multiplies FP32 as TF32, with a mantissa of 10 bits, like FP16's.
TF32 = FP16
# BF16 has 8 bits, 8 times as coarse: answers of torchvision's ResNets and MobileNet V2 (seeded
# random weights) moved by up to 7e-3 of their magnitude, and those of ViT-B/16 by 2e-2.
BF16 = Precision(Tolerance(relative=8e-2), rounding=1.6e-2)
# INT8 has 8 bits for the whole range of a tensor, so small values lose most. On natural-looking images like those of
# their calibration, answers of untrained ResNet18, ResNet50, MobileNetV2 and ViT-B/16 moved by up to 2% to 6% of their
# magnitude, and those of a ResNet18 with a head fitted to classes by 9%.
INT8 = Precision(Tolerance(relative=0.25), rounding=0.1)
# An untrained network may hardly react to its input. Its limit shrinks to this share of the distance between answers to
# different inputs, so that swapped answers are noticed, but not below the rounding of its precision.
SHARE_OF_DISTANCE = 0.1
# An answer this much larger than those to the generated inputs is not judged by the distance between them.
BEYOND = 10.0
# Differences below this share of an output's largest magnitude over all inputs are rounding too.
NOISE = 1e-6
# Two scores this close, as a share of their magnitude, may come out the other way round in float32.
UNDECIDED = 1e-5
# Kinds of numpy's dtypes that have distances.
NUMBERS = "fiu"
# Ends of a hint, for floats and for whole numbers.
LOOSENED = "; a looser limit is set with --tolerance"
LOOSENED_STEPS = "; whole numbers must be equal, but for quantized ones --tolerance absolute=1 allows one step"
# A difference of this share of the source's answer is not rounding: the answers are other answers.
OTHER = 1.0
PAGE = "docs/how-to/when-export-fails.md"


class Differs(VerificationError):
    """An answer to the input in ``row`` of a pool is outside the tolerance; ``found`` says where and by how much."""

    def __init__(self, message: str, hint: str, found: Worst, row: int) -> None:
        super().__init__(message, hint)
        self.found, self.row = found, row


class Comparison:
    """Collects the differences of a comparison and keeps the worst.

    ``precision`` applies to every output, instead of that of the output's type. With ``whole``, an answer is compared
    as a whole: verification has added its leading axis. With ``equal_nan``, NaN equals NaN. With ``repeating``, inputs
    may be the same, so equal answers say nothing about the distance between answers to different inputs. ``ranges`` has
    the largest magnitude that an output can have, such as 1 for a sigmoid's: its small answers are judged on what the
    model answers to other inputs. With ``exchanging``, a label may differ where the scores beside it name another class
    as well: these are compared, and the caller limits how often it happens.
    """

    def __init__(
        self,
        tolerance: Tolerance | None,
        *,
        precision: Precision | None = None,
        whole: bool = False,
        equal_nan: bool = False,
        repeating: bool = False,
        ranges: Mapping[str, float] | None = None,
        exchanging: bool = False,
    ) -> None:
        self.exchanging = exchanging
        self.exchanged: dict[str, set[tuple[int, int, int]]] = {}  # cases whose label differs as the scores do
        self.tolerance = tolerance
        self.precision = precision
        self.whole = whole
        self.equal_nan = equal_nan
        self.repeating = repeating
        self.ranges = ranges or {}
        self.overflowing = False  # probes may overflow
        self.cases = 0
        self.precisions: dict[str, Precision] = {}
        self.scale: dict[str, float] = {}
        self.typical: dict[str, float] = {}
        self.distance: dict[str, float] = {}
        self.max_abs = self.max_rel = 0.0
        self.worst: Worst | None = None
        self.hits: dict[int, list[bool]] = {1: [], 5: []}
        self.notes: dict[str, str] = {}

    def learn(self, answers: Mapping[str, list[Array]], pool: Pool) -> None:
        """Note each output's precision, its largest magnitude, and the distance of its answers to random inputs."""
        rows = [row for row, family in enumerate(pool.families) if family in RANDOM]
        for name, each in answers.items():
            self.precisions[name] = self.precision or (FP16 if each[0].dtype == np.float16 else FP32)
            self.scale[name] = max(self.scale.get(name, 0.0), *map(largest_magnitude, each))
            self.typical[name] = float(np.median(list(map(largest_magnitude, each))))
            pairs = [(each[one], each[other]) for one, other in combinations(rows, 2)]
            if pairs and all(one.shape == other.shape for one, other in pairs):
                apart = min(largest_difference(one, other)[0] for one, other in pairs)
                if self.repeating and not apart:
                    continue
                self.distance[name] = apart
                alike = _is_float(each[0]) or all(np.array_equal(one, each[0]) for one in each)  # labels are few
                if alike and self.distance[name] <= self._own_limit(name, each[rows[0]]):
                    self.notes[name] = f"output {name!r} hardly depends on the input, so comparing it proves little"

    def same(self, name: str, together: Array, alone: Array) -> bool:
        """Whether a sample gets the same answer alone and in a batch; the user's tolerance has no effect here."""
        return largest_difference(together, alone, self.equal_nan)[0] <= self._own_limit(name, together)

    def _own_limit(self, name: str, wanted: Array) -> float:
        """Return the limit of an output's precision, less if its answers are close together."""
        if not _is_float(wanted):
            return 0.0
        magnitude = largest_magnitude(wanted)
        precision = self.precisions[name]
        span = self.ranges.get(name, 0.0)
        if span:
            magnitude = max(magnitude, min(span, self.scale[name]))
        if self.precision:  # intermediate rounding errors stay as large if an answer happens to be near zero
            magnitude = max(magnitude, self.typical[name])
        limit = precision.tolerance.relative * magnitude
        if name in self.distance and magnitude <= BEYOND * self.scale[name]:
            limit = min(limit, max(SHARE_OF_DISTANCE * self.distance[name], precision.rounding * magnitude))
        return limit + NOISE * max(self.scale[name], span)

    def limit(self, name: str, wanted: Array) -> float:
        """Return the largest difference that is allowed for one sample of an output.

        The user's absolute tolerance also applies to whole numbers: in a quantized output they are steps.
        """
        if self.tolerance is None or wanted.dtype.kind not in NUMBERS:
            return self._own_limit(name, wanted)
        if not _is_float(wanted):
            return self.tolerance.absolute
        magnitude, span = largest_magnitude(wanted), self.ranges.get(name, 0.0)
        if span:
            magnitude = max(magnitude, min(span, self.scale.get(name, 0.0)))
        return self.tolerance.absolute + self.tolerance.relative * magnitude + NOISE * span

    def add(
        self,
        wanted: Arrays,
        got: Arrays,
        pool: Pool,
        rows: Sequence[int],
        batch: int,
        forgiven: Callable[["Differs"], bool] = lambda error: False,
    ) -> None:
        """Compare one batch sample by sample; raises Differs at the first that is too far off and not ``forgiven``.

        VerificationError if an output is missing or has a different shape.
        """
        skipped: set[int] = set()
        before, got = got, self._settled(wanted, got)
        for name, answers in wanted.items():
            if name not in got:
                raise VerificationError(f"the converted model has no output {name!r}")
            kinds = {answers.dtype.kind, got[name].dtype.kind}
            if kinds <= {"i", "u"} and answers.dtype != got[name].dtype:
                raise VerificationError(
                    f"output {name!r} is of type {got[name].dtype}, and the source answers {answers.dtype}",
                    "Large numbers would be wrong: convert the output to that type inside the model",
                )
            if got[name].shape != answers.shape:
                shape, wanted_shape = (list(array.shape[self.whole :]) for array in (got[name], answers))
                raise VerificationError(
                    f"output {name!r} has shape {shape}, and the source gives {wanted_shape}, at batch {batch}"
                )
            for position, row in enumerate(rows):
                if position in skipped:
                    continue
                one, other = answers[position, ...], got[name][position, ...]
                try:
                    found = Worst(name, pool.families[row], batch, *self._measure(name, one, other))
                    self._add_sample(found, one, other, row)
                except Differs as error:
                    if self.exchanging and follows_scores(name, wanted, got, position):
                        self.exchanged.setdefault(name, set()).add((self.cases, batch, row))
                        continue
                    if not forgiven(error):
                        raise
                    skipped.add(position)
                else:
                    if name == SCORES and CLASSES in wanted and exchanged.ranked(wanted):
                        self._add_best(wanted[CLASSES][position], before[CLASSES][position])
                    else:
                        self._add_ranking(one, other)

    def _settled(self, wanted: Arrays, got: Arrays) -> Arrays:
        """Return a batch of answers with what rounding exchanges in the order of ``wanted``."""
        if not (exchanged.ranked(wanted) or (CLASS_MAP in wanted and MARGIN in wanted)):
            return got
        if any(name not in got or got[name].shape != array.shape for name, array in wanted.items()):
            return got
        edge = self.exchanging or self.precision is not None
        rows = []
        for row in range(len(next(iter(wanted.values())))):
            ours, theirs = ({name: each[name][row, ...] for name in wanted} for each in (wanted, got))
            rows.append(exchanged.settled(ours, theirs, self.limit, edge=edge))
        return {**got, **{name: np.stack([row[name] for row in rows]) for name in wanted}}

    def differing(self, together: Arrays, alone: Arrays) -> set[str]:
        """Return the outputs in which a sample gets another answer alone than in a batch; see ``same``."""
        if any(alone[name].shape != array.shape for name, array in together.items()):
            return {name for name, array in together.items() if alone[name].shape != array.shape}
        alone = exchanged.settled(together, alone, self._own_limit, edge=True)
        return {name for name, array in together.items() if not self.same(name, array, alone[name])}

    def _add_best(self, wanted: Array, got: Array) -> None:
        """Note whether the best classes of a list are the same."""
        for k, hits in self.hits.items():
            if wanted.ndim == 1 and wanted.size >= k:
                hits.append({*wanted[:k].tolist()} == {*got[:k].tolist()})

    def _measure(self, name: str, wanted: Array, got: Array) -> tuple[tuple[int, ...], float, float]:
        difference, index = largest_difference(wanted, got, self.equal_nan, overflowing=self.overflowing)
        return index, difference, self.limit(name, wanted)

    def _add_sample(self, found: Worst, wanted: Array, got: Array, row: int) -> None:
        if not found.difference <= found.limit:
            raise Differs(
                f"output {found.output!r} differs by {found.difference:.3g} (limit {found.limit:.3g}), on "
                f"input {found.family!r} at batch {found.batch}, index {list(found.index)}",
                _hint(wanted, got, found),
                found,
                row,
            )
        # Of an answer near zero, the rounding is no smaller than that of the output's usual answers.
        magnitude = max(largest_magnitude(wanted), self.typical.get(found.output, 0.0))
        self.max_abs = max(self.max_abs, found.difference)
        self.max_rel = max(self.max_rel, found.difference / magnitude if magnitude else 0.0)
        if self.worst is None or found.share_of_limit > self.worst.share_of_limit:
            self.worst = found

    def _add_ranking(self, wanted: Array, got: Array) -> None:
        if wanted.ndim != 1 or not _is_float(wanted):
            return
        for k, hits in self.hits.items():
            if wanted.size > k:
                hits.append(set(np.argsort(wanted)[-k:]) == set(np.argsort(got)[-k:]))

    def undecided(self, wanted: Arrays, got: Arrays, position: int, output: str) -> Literal["no", "rounded", "tied"]:
        """Return whether a label is one of two that the source hardly prefers, so that rounding exchanges them.

        "tied" if the candidate's own scores are equal: then it may also choose by another rule, which is a fault if it
        happens often.
        """
        if _is_float(wanted[output]):
            return "no"
        for name, answers in wanted.items():
            scores = np.sort(answers[position, ...].ravel()) if _is_float(answers) else np.empty(0)
            if not scores.size or not np.isfinite(scores).all():
                continue
            limit = min(UNDECIDED * max(1.0, largest_magnitude(scores)), self.limit(name, scores))
            if _gap(scores) <= limit:
                return "rounded" if _gap(np.sort(got[name][position, ...].ravel())) > 0 else "tied"
        return "no"

    def verification(self, notes: tuple[str, ...]) -> Verification:
        """Return the result, if every answer was within the tolerance."""
        own = {str(precision.tolerance): None for precision in self.precisions.values()}
        agreement = {k: float(np.mean(hits)) if hits else None for k, hits in self.hits.items()}
        return Verification(
            passed=True,
            max_abs_diff=self.max_abs,
            max_rel_diff=self.max_rel,
            cases=self.cases,
            tolerance=str(self.tolerance or ", ".join(own)),
            worst=self.worst,
            top1=agreement[1],
            top5=agreement[5],
            notes=(*notes, *self.notes.values(), *self._exchanges()),
        )

    def _exchanges(self) -> Iterator[str]:
        """Yield a note for each output of labels that differ as the scores do."""
        for name, cases in self.exchanged.items():
            often = f"{len(cases)} of {self.cases} cases"
            yield f"output {name!r} differs in {often}, where the order of the scores changes, too"


def follows_scores(output: str, wanted: Arrays, got: Arrays, position: int) -> bool:
    """Whether an output is one label, and the only scores beside it have their largest number at another place."""
    label = wanted[output][position, ...]
    scores = [name for name, answers in wanted.items() if answers.ndim == 2 and _is_float(answers)]
    if label.size != 1 or _is_float(label) or len(scores) != 1 or scores[0] not in got:
        return False
    one, other = (each[scores[0]][position] for each in (wanted, got))
    if one.shape != other.shape or one.size < 2 or not np.isfinite([one, other]).all():
        return False
    return bool(one.argmax() != other.argmax())


def _hint(wanted: Array, got: Array, found: Worst) -> str:
    """Return the next step for an answer that is too far off: a looser limit only if it may be the same answer."""
    changed = "The conversion changed the model's answers"
    if not _is_float(wanted):
        return f"{changed}{LOOSENED_STEPS if wanted.dtype.kind in NUMBERS else ''}"
    rows = (each[found.index[:-1]] if each.ndim else each for each in (wanted, got))
    one, other = rows
    if one.ndim and one.size > 1 and not one.any() and other.any():
        return f"{changed}: the source answers a row of zeros there, as at padded places: {PAGE}#padding"
    if np.isfinite(one).all() and np.isnan(other).any():
        return f"{changed}: it answers NaN where the source answers numbers, as for padding alone: {PAGE}#padding"
    if not found.difference < OTHER * largest_magnitude(wanted):
        return f"{changed}: a difference as large as the answers is not rounding: {PAGE}"
    return f"{changed}{LOOSENED}"


def _gap(scores: Array) -> float:
    """Return the distance of the two largest of sorted scores, or of the two smallest; of a single one from zero."""
    ends = (scores[-1] - scores[-2], scores[1] - scores[0]) if scores.size > 1 else (abs(scores[0]),)
    return float(min(ends))


def why_useless(answers: Arrays, pool: Pool, rows: Sequence[int]) -> str | None:
    """Return why a source's answers to a batch are useless for comparison, or None."""
    for name, answer in answers.items():
        if not answer.size:
            return f"the source model's output {name!r} is empty"
        if not _is_float(answer):
            continue
        samples = answer.reshape(len(answer), -1)
        kinds = {"NaN": np.isnan(samples).any(axis=1), "only infinities": np.isinf(samples).all(axis=1)}
        for what, useless in kinds.items():
            if useless.any():
                family = pool.families[rows[int(useless.argmax())]]
                return f"the source model itself answers {what} in output {name!r} on input {family!r}"
    return None


def largest_magnitude(answer: Array) -> float:
    """Return the largest finite absolute value of an answer; 0.0 if it has none, or is not of numbers."""
    if answer.dtype.kind not in "fiub":
        return 0.0
    finite = answer[np.isfinite(answer)]
    return float(np.abs(finite.astype(np.float64)).max(initial=0.0))


def largest_difference(
    wanted: Array, got: Array, equal_nan: bool = False, *, overflowing: bool = False
) -> tuple[float, tuple[int, ...]]:
    """Return the largest difference of two samples of the same shape, and its place.

    Different strings differ by 1. NaN and unequal infinities are infinitely far apart; with ``equal_nan`` NaN equals
    NaN, and with ``overflowing`` an infinity that is wanted equals anything that is not a number either.
    """
    if wanted.dtype.kind not in NUMBERS:
        gaps = np.asarray(wanted != got).astype(float)
    elif not _is_float(wanted):  # floats lose the last digits of large integers
        gaps = np.where(wanted == got, 0.0, np.maximum(1.0, np.abs(wanted.astype(np.float64) - got.astype(np.float64))))
    else:
        with np.errstate(invalid="ignore"):
            gaps = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
        same = (wanted == got) | (equal_nan & np.isnan(wanted) & np.isnan(got))
        same |= overflowing & np.isinf(wanted) & ~np.isfinite(got)
        gaps = np.where(same, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
    place = np.unravel_index(int(gaps.argmax()), gaps.shape) if gaps.size else ()
    return float(gaps.max(initial=0.0)), tuple(map(int, place))


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
