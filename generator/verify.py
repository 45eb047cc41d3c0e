"""Parity with the source, and batch invariance: the numbers that a published model stands on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from generator.errors import InputRefused, VerificationError
from generator.inputs import FAMILIES, ODD_BATCH, RANDOM, SIZES, Pool, batch_sizes, generated
from generator.specs import Array, Arrays, Signature, Tolerance, Verification, Worst

Run = Callable[[Arrays], Mapping[str, Array]]


@dataclass(frozen=True)
class Precision:
    """What a type of numbers allows.

    ``rounding`` is the share of an answer's magnitude below which a difference can't mean anything but rounding.
    """

    tolerance: Tolerance
    rounding: float


# By the type of the output. FP32: torch and ONNX Runtime differ by some millionths of the answers' magnitude
# (docs/reference/coverage.md has the figure of every classifier); 1e-3 leaves room for deep trained models on inputs
# ten times as large as usual, and is far below what a wrong operator does. FP16 has 11 bits, so that a value is rounded
# by up to 5e-4 of itself at every step that is not fused with the next.
FP32 = Precision(Tolerance(relative=1e-3), rounding=1e-5)
FP16 = Precision(Tolerance(relative=1e-2), rounding=2e-3)
# An untrained network may hardly react to its input. Its limit shrinks to this share of the distance between answers to
# different inputs, so that an exchanged answer is noticed, but not below the rounding of its precision.
SHARE_OF_DISTANCE = 0.1
# Differences below this share of an output's largest magnitude over all inputs are rounding too.
NOISE = 1e-6


def verify(
    source: Run,
    candidate: Run,
    signature: Signature,
    *,
    max_batch_size: int,
    seed: int,
    samples: Sequence[Pool] = (),
    tolerance: Tolerance | None = None,
) -> Verification:
    """Compare ``candidate`` with ``source`` on every input family at every batch size, and on the user's samples.

    Where the source answers samples one by one as it answers them in a batch, ``batch_invariant`` is True; otherwise
    ``mixing`` names the outputs, and comparison goes on batch by batch. It is None where there are no batches. Raises
    VerificationError, which names input, output and distance, where an answer lies outside the tolerance or is NaN,
    where the source does not answer alike twice, and where it answers nothing that it can be asked.
    """
    if signature.batch_dim is None:
        return _Verifier(_whole(source), _whole(candidate), signature, (), tolerance).verification(seed, samples)
    sizes = batch_sizes(max_batch_size or ODD_BATCH)
    try:
        return _Verifier(source, candidate, signature, sizes, tolerance).verification(seed, samples)
    except _NotBatched as error:
        alone = _Verifier(_as_one(source), _as_one(candidate), signature, (), tolerance).verification(seed, samples)
        outputs = tuple(spec.name for spec in signature.outputs)
        return replace(alone, batch_invariant=False, mixing=outputs, notes=(*alone.notes, str(error)))


class _NotBatched(Exception):
    """The source answers samples one by one, but not a batch of them."""


def _as_one(run: Run) -> Run:
    """Return a run whose whole answers, whatever their shapes, stand behind a leading axis of 1: a batch of one."""
    return lambda arrays: {name: np.asarray(answer)[np.newaxis] for name, answer in run(arrays).items()}


def _whole(run: Run) -> Run:
    """Return a run that takes a whole input set behind a leading axis of 1, and answers so."""
    return _as_one(lambda arrays: run({name: array[0, ...] for name, array in arrays.items()}))


class _Verifier:
    """Asks both models at the given batch sizes; without any, row by row, each answer being compared as a whole."""

    def __init__(
        self, source: Run, candidate: Run, signature: Signature, sizes: Sequence[int], tolerance: Tolerance | None
    ) -> None:
        self.source, self.candidate, self.signature, self.sizes = source, candidate, signature, sizes or (1,)
        self.blind = not all(spec.domain.known for spec in signature.inputs)
        self.comparison = _Comparison(tolerance, whole=not sizes)
        self.notes: list[str] = []
        self.mixing: set[str] = set()

    def verification(self, seed: int, samples: Sequence[Pool]) -> Verification:
        """Compare everything and return what was found."""
        for pool in self._generated(seed, bool(samples)):
            self._compare(pool)
        self.comparison.equal_nan = self.blind
        for pool in samples:
            if self.blind:  # a sample that is refused is named, also where a batch would hide which one it is
                for row in range(len(pool.families)):
                    self._alone(pool, row)
            self._compare(pool)
        return replace(
            self.comparison.verification(tuple(self.notes)),
            batch_invariant=not self.mixing if self.sizes[-1] > 1 else None,
            mixing=tuple(sorted(self.mixing)),
        )

    def _generated(self, seed: int, has_samples: bool) -> Iterator[Pool]:
        """Yield the generated inputs; of a model that may refuse some, those that it answers with numbers."""
        refused: list[str] = []
        answered = 0
        for size, pool in generated(self.signature, self.sizes[-1], seed):
            if size not in SIZES and (answered or not self.blind):
                break
            rows = range(len(pool.families))
            problems = [self._problem(pool, row) if self.blind else None for row in rows]
            kept = [row for row in rows if problems[row] is None]
            refused += filter(None, problems)
            answered += len(kept)
            if kept:
                yield pool.only(kept)
        if not answered and not has_samples:
            raise VerificationError(
                f"none of the generated inputs can be compared; {refused[0]}",
                "Give inputs that the model answers with --samples",
            )
        if refused:
            self.notes.append(
                f"{len(refused)} of {len(refused) + answered} generated inputs are left out; {refused[0]}"
                if answered
                else f"only your samples are compared; {refused[0]}"
            )

    def _alone(self, pool: Pool, row: int) -> Mapping[str, Array]:
        """Return the source's answers to one row."""
        try:
            answers = self.source(pool.rows([row]))
        except InputRefused as error:
            raise InputRefused(f"{error.message}, on input {pool.families[row]!r}") from error
        if any(answer.shape[:1] != (1,) for answer in answers.values()):
            raise _NotBatched("the source model answers one sample with something else than a batch of one")
        return answers

    def _problem(self, pool: Pool, row: int) -> str | None:
        """Return why one row tells nothing about a model: the source refuses it, or answers no numbers."""
        try:
            return _uselessness(self._alone(pool, row), pool, [row])
        except InputRefused as error:
            return error.message

    def _compare(self, pool: Pool) -> None:
        judged = not self.comparison.equal_nan
        reference = _Reference(self.source, pool, self.sizes[-1], judged)
        self.comparison.learn(reference.answers, pool)
        if not self.comparison.cases:
            self._refuse_random(pool, reference)
        if self.sizes[-1] > 1:
            self.mixing |= reference.differing_alone(self.comparison)
        asked = set()
        for batch, rows in _batches(pool, self.sizes):
            wanted = self.source(pool.rows(rows)) if self.mixing else reference.rows(rows)
            self.comparison.add(wanted, self.candidate(pool.rows(rows)), pool, rows, batch)
            asked |= {(batch, row) for row in rows}
        self.comparison.cases += len(asked)

    def _refuse_random(self, pool: Pool, reference: "_Reference") -> None:
        """Ask some inputs twice: a model that draws random numbers can't be compared with anything."""
        for row in range(len(pool.families) if self.blind else 1):
            asked_alone = self.sizes[-1] == 1
            first = reference.rows([row]) if asked_alone else self.source(pool.rows([row]))
            for name, again in self.source(pool.rows([row])).items():
                answer = first[name]
                if answer.shape != again.shape or not self.comparison.same(name, answer, again):
                    raise VerificationError(
                        f"the source model answers the same input differently each time, in output {name!r} on input "
                        f"{pool.families[row]!r}",
                        "It draws random numbers, as RandomNormal, Bernoulli or Dropout in training do: nothing can be "
                        "compared with it",
                    )


def _batches(pool: Pool, sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield batches that show every family at every size; a last batch that is short is filled from the start."""
    count = len(pool.families)
    for size in sizes:
        shown = count if size == sizes[-1] else min(count, len(FAMILIES))
        for start in range(0, shown, size):
            yield size, [row % count for row in range(start, start + size)]


class _Reference:
    """The source's answers to every row of a pool, asked in batches of the largest size.

    ``judged``: answers that no comparison could tell anything about are refused.
    """

    def __init__(self, source: Run, pool: Pool, size: int, judged: bool) -> None:
        self.source, self.pool = source, pool
        count = len(pool.families)
        self.answers: dict[str, list[Array]] = {}
        for start in range(0, count, size):
            rows = [row % count for row in range(start, start + size)]
            answers = self._batch(rows)
            problem = _uselessness(answers, pool, rows) if judged else None
            if problem:
                raise VerificationError(problem, "Check its weights: such a model is not published")
            for name, answer in answers.items():
                self.answers.setdefault(name, []).extend(answer[row, ...] for row in range(min(size, count - start)))

    def _batch(self, rows: list[int]) -> Mapping[str, Array]:
        try:
            answers = self.source(self.pool.rows(rows))
        except InputRefused as error:
            if len(rows) == 1:
                raise
            raise _NotBatched(f"samples are asked one by one; {error.message}") from error
        wrong = [name for name, answer in answers.items() if answer.shape[:1] != (len(rows),)]
        if wrong:
            raise _NotBatched(f"samples are asked one by one: output {wrong[0]!r} does not keep the batch's size")
        return answers

    def rows(self, rows: Sequence[int]) -> Arrays:
        return {name: np.stack([answers[row] for row in rows]) for name, answers in self.answers.items()}

    def differing_alone(self, comparison: "_Comparison") -> set[str]:
        """Return the outputs that differ when the first samples are asked one by one."""
        differing = set()
        for row in range(min(len(self.pool.families), len(FAMILIES))):
            for name, alone in self.source(self.pool.rows([row])).items():
                together = self.answers[name][row]
                if alone.shape[1:] != together.shape or not comparison.same(name, together, alone[0, ...]):
                    differing.add(name)
        return differing


def _uselessness(answers: Arrays, pool: Pool, rows: Sequence[int]) -> str | None:
    """Return why no comparison could tell anything about a source's answers to a batch; None if one could."""
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


class _Comparison:
    """Collects the differences of a run and remembers the worst.

    ``whole``: what is compared is an answer as a whole, its leading axis one that verification has added.
    ``equal_nan``: answers that are NaN in the same places are equal there.
    """

    def __init__(self, tolerance: Tolerance | None, *, whole: bool = False) -> None:
        self.tolerance = tolerance
        self.whole = whole
        self.equal_nan = False
        self.cases = 0
        self.precisions: dict[str, Precision] = {}
        self.scale: dict[str, float] = {}
        self.distance: dict[str, float] = {}
        self.max_abs = self.max_rel = 0.0
        self.worst: Worst | None = None
        self.hits: dict[int, list[bool]] = {1: [], 5: []}
        self.notes: dict[str, str] = {}

    def learn(self, answers: Mapping[str, list[Array]], pool: Pool) -> None:
        """Take note of each output's largest magnitude, and of how far apart its answers to random inputs lie."""
        rows = [row for row, family in enumerate(pool.families) if family in RANDOM]
        for name, each in answers.items():
            self.precisions[name] = FP16 if each[0].dtype == np.float16 else FP32
            self.scale[name] = max(self.scale.get(name, 0.0), *map(_magnitude, each))
            pairs = [(each[one], each[other]) for one, other in combinations(rows, 2)]
            if pairs and all(one.shape == other.shape for one, other in pairs):
                self.distance[name] = min(_distance(one, other)[0] for one, other in pairs)
                if self.distance[name] <= self._own_limit(name, each[rows[0]]):
                    self.notes[name] = f"output {name!r} hardly depends on the input, so comparing it proves little"

    def same(self, name: str, together: Array, alone: Array) -> bool:
        """Tell whether a sample is answered alike alone and in a batch; a tolerance of the user's is no matter here."""
        return _distance(together, alone, self.equal_nan)[0] <= self._own_limit(name, together)

    def _own_limit(self, name: str, wanted: Array) -> float:
        if not _is_float(wanted):
            return 0.0
        magnitude = _magnitude(wanted)
        precision = self.precisions[name]
        limit = precision.tolerance.relative * magnitude
        if name in self.distance:
            limit = min(limit, max(SHARE_OF_DISTANCE * self.distance[name], precision.rounding * magnitude))
        return limit + NOISE * self.scale[name]

    def limit(self, name: str, wanted: Array) -> float:
        """Return the largest difference that is allowed for one sample of an output."""
        if self.tolerance is None or not _is_float(wanted):
            return self._own_limit(name, wanted)
        return self.tolerance.absolute + self.tolerance.relative * _magnitude(wanted)

    def add(self, wanted: Arrays, got: Arrays, pool: Pool, rows: Sequence[int], batch: int) -> None:
        """Compare one batch sample by sample; raises VerificationError at the first that is too far off."""
        for name, answers in wanted.items():
            if name not in got:
                raise VerificationError(f"the converted model lacks the output {name!r}")
            if got[name].shape != answers.shape:
                shape, wanted_shape = (list(array.shape[self.whole :]) for array in (got[name], answers))
                raise VerificationError(
                    f"output {name!r} has shape {shape} where the source gives {wanted_shape}, at batch {batch}"
                )
            for position, row in enumerate(rows):
                one, other = answers[position, ...], got[name][position, ...]
                self._add_sample(Worst(name, pool.families[row], batch, *self._measure(name, one, other)), one)
                self._add_ranking(one, other)

    def _measure(self, name: str, wanted: Array, got: Array) -> tuple[tuple[int, ...], float, float]:
        difference, index = _distance(wanted, got, self.equal_nan)
        return index, difference, self.limit(name, wanted)

    def _add_sample(self, found: Worst, wanted: Array) -> None:
        if not found.difference <= found.limit:
            raise VerificationError(
                f"output {found.output!r} differs by {found.difference:.3g} where {found.limit:.3g} is allowed, on "
                f"input {found.family!r} at batch {found.batch}, index {list(found.index)}",
                "The conversion changed the model's answers; a looser limit is set with --tolerance",
            )
        magnitude = _magnitude(wanted)
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

    def verification(self, notes: tuple[str, ...]) -> Verification:
        """Return what was found; every answer was within the tolerance."""
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
            notes=(*notes, *self.notes.values()),
        )


def _magnitude(answer: Array) -> float:
    if answer.dtype.kind not in "fiub":
        return 0.0
    finite = answer[np.isfinite(answer)]
    return float(np.abs(finite.astype(np.float64)).max(initial=0.0))


def _distance(wanted: Array, got: Array, equal_nan: bool = False) -> tuple[float, tuple[int, ...]]:
    """Return the largest difference of two samples and its place; NaN and unequal infinities are infinitely far."""
    if not _is_float(wanted):
        gaps = np.asarray(wanted != got).astype(float)
    else:
        with np.errstate(invalid="ignore"):
            gaps = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
        same = (wanted == got) | (equal_nan & np.isnan(wanted) & np.isnan(got))
        gaps = np.where(same, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
    place = np.unravel_index(int(gaps.argmax()), gaps.shape) if gaps.size else ()
    return float(gaps.max(initial=0.0)), tuple(map(int, place))


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
