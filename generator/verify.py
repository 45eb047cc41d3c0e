"""Parity with the source, and batch invariance: the numbers that a published model stands on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from generator.errors import OptionError, VerificationError
from generator.inputs import FAMILIES, ODD_BATCH, RANDOM, Pool, batch_sizes, make_pool
from generator.specs import Array, Arrays, Signature, Tolerance, Verification, Worst

Run = Callable[[Arrays], Mapping[str, Array]]

# Allowed difference by precision. FP32: torch and ONNX Runtime differ by some millionths of the answers' magnitude
# (docs/reference/coverage.md has the figure of every classifier); 1e-3 leaves room for deep trained models on inputs
# ten times as large as usual, and is far below what a wrong operator does.
TOLERANCES = {"fp32": Tolerance(relative=1e-3)}
# An untrained network may hardly react to its input. Its limit shrinks to this share of the distance between answers to
# different inputs, so that an exchanged answer is noticed, but not below this share of their magnitude: rounding.
SHARE_OF_DISTANCE, ROUNDING = 0.1, 1e-5
# Differences below this share of an output's largest magnitude over all inputs are rounding too.
NOISE = 1e-6


def verify(
    source: Run,
    candidate: Run,
    signature: Signature,
    *,
    max_batch_size: int,
    seed: int,
    samples: Pool | None = None,
    tolerance: Tolerance | None = None,
) -> Verification:
    """Compare ``candidate`` with ``source`` on every input family at every batch size, and on the user's samples.

    Where the source answers samples one by one as it answers them in a batch, ``batch_invariant`` is True; otherwise
    ``mixing`` names the outputs, and comparison goes on batch by batch. It is None where there are no batches. Raises
    VerificationError, which names input, output and distance, where an answer lies outside the tolerance or is NaN.
    """
    comparison = _Comparison(tolerance)
    if signature.batch_dim is None:
        if samples:
            raise OptionError(
                "samples can't be used: not every input and output has the same leading batch dimension",
                "Leave --samples out",
            )
        _compare_whole(source, candidate, signature, seed, comparison)
        return comparison.verification()
    sizes = batch_sizes(max_batch_size or ODD_BATCH)
    mixing: set[str] = set()
    for pool in (make_pool(signature.inputs, sizes[-1], seed), *([samples] if samples else [])):
        reference = _Reference(source, pool, sizes[-1])
        comparison.learn(reference.batched, pool)
        mixing |= reference.differing_alone(comparison)
        for batch, rows in _batches(pool, sizes):
            wanted = source(pool.rows(rows)) if mixing else reference.rows(rows)
            comparison.add(wanted, candidate(pool.rows(rows)), pool, rows, batch)
    invariant = not mixing if sizes[-1] > 1 else None
    return replace(comparison.verification(), batch_invariant=invariant, mixing=tuple(sorted(mixing)))


def _compare_whole(source: Run, candidate: Run, signature: Signature, seed: int, comparison: "_Comparison") -> None:
    """Compare a model without a common batch dimension: every input as a whole, symbolic dimensions at 1, 2 and 3."""
    symbolic = any(isinstance(dim, str) for spec in signature.inputs for dim in spec.shape)
    for size in batch_sizes(ODD_BATCH) if symbolic else (1,):
        sizes = {dim: size for spec in signature.inputs for dim in spec.shape if isinstance(dim, str)}
        pool = make_pool([replace(spec, shape=("row", *spec.sized(sizes))) for spec in signature.inputs], 1, seed)

        def each(run: Run, pool: Pool = pool) -> Arrays:
            rows = range(len(pool.families))
            answers = [run({name: array[row] for name, array in pool.arrays.items()}) for row in rows]
            return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}

        everything = list(range(len(pool.families)))
        wanted = each(source)
        _refuse_useless(wanted, pool, everything)
        comparison.learn(wanted, pool)
        comparison.add(wanted, each(candidate), pool, everything, size)


def _batches(pool: Pool, sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield batches that show every family at every size; a last batch that is short is filled from the start."""
    count = len(pool.families)
    for size in sizes:
        shown = count if size == sizes[-1] else min(count, len(FAMILIES))
        for start in range(0, shown, size):
            yield size, [row % count for row in range(start, start + size)]


class _Reference:
    """The source's answers: for the whole pool, in batches of the largest size."""

    def __init__(self, source: Run, pool: Pool, size: int) -> None:
        self.source, self.pool = source, pool
        count = len(pool.families)
        parts = []
        for start in range(0, count, size):
            rows = [row % count for row in range(start, start + size)]
            answers = source(pool.rows(rows))
            _refuse_useless(answers, pool, rows)
            parts.append({name: answer[: count - start] for name, answer in answers.items()})
        self.batched = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rows(self, rows: Sequence[int]) -> Arrays:
        return {name: answer[list(rows)] for name, answer in self.batched.items()}

    def differing_alone(self, comparison: "_Comparison") -> set[str]:
        """Return the outputs that differ when the first samples are asked one by one."""
        differing = set()
        for row in range(min(len(self.pool.families), len(FAMILIES))):
            for name, alone in self.source(self.pool.rows([row])).items():
                together = self.batched[name][[row]]
                if alone.shape != together.shape or not comparison.same(name, together[0], alone[0]):
                    differing.add(name)
        return differing


def _refuse_useless(answers: Arrays, pool: Pool, rows: Sequence[int]) -> None:
    """Refuse a source whose answers no comparison could tell anything about."""
    for name, answer in answers.items():
        if not answer.size:
            raise VerificationError(f"the source model's output {name!r} is empty")
        if not _is_float(answer):
            continue
        samples = answer.reshape(len(answer), -1)
        kinds = {"NaN": np.isnan(samples).any(axis=1), "only infinities": np.isinf(samples).all(axis=1)}
        for what, useless in kinds.items():
            if useless.any():
                family = pool.families[rows[int(useless.argmax())]]
                raise VerificationError(
                    f"the source model itself answers {what} in output {name!r} on input {family!r}",
                    "Check its weights: such a model is not published",
                )


class _Comparison:
    """Collects the differences of a run and remembers the worst."""

    def __init__(self, tolerance: Tolerance | None) -> None:
        self.own = TOLERANCES["fp32"]
        self.tolerance = tolerance
        self.scale: dict[str, float] = {}
        self.distance: dict[str, float] = {}
        self.compared: set[tuple[str, int, int]] = set()
        self.max_abs = self.max_rel = 0.0
        self.worst: Worst | None = None
        self.hits: dict[int, list[bool]] = {1: [], 5: []}
        self.notes: dict[str, str] = {}

    def learn(self, answers: Arrays, pool: Pool) -> None:
        """Take note of each output's largest magnitude, and of how far apart its answers to random inputs lie."""
        rows = [row for row, family in enumerate(pool.families) if family in RANDOM]
        for name, answer in answers.items():
            self.scale[name] = max(self.scale.get(name, 0.0), _magnitude(answer))
            if rows:
                pairs = combinations([answer[row] for row in rows], 2)
                self.distance[name] = min(_distance(one, other)[0] for one, other in pairs)
                if self.distance[name] <= self._own_limit(name, answer[rows[0]]):
                    self.notes[name] = f"output {name!r} hardly depends on the input, so comparing it proves little"

    def same(self, name: str, together: Array, alone: Array) -> bool:
        """Tell whether a sample is answered alike alone and in a batch; a tolerance of the user's is no matter here."""
        return _distance(together, alone)[0] <= self._own_limit(name, together)

    def _own_limit(self, name: str, wanted: Array) -> float:
        if not _is_float(wanted):
            return 0.0
        magnitude = _magnitude(wanted)
        limit = self.own.relative * magnitude
        if name in self.distance:
            limit = min(limit, max(SHARE_OF_DISTANCE * self.distance[name], ROUNDING * magnitude))
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
                raise VerificationError(
                    f"output {name!r} has shape {list(got[name].shape)} where the source gives {list(answers.shape)}, "
                    f"at batch {batch}"
                )
            for row, one, other in zip(rows, answers, got[name], strict=True):
                self._add_sample(Worst(name, pool.families[row], batch, *self._measure(name, one, other)), one)
                self._add_ranking(one, other)
        self.compared |= {(pool.families[row], row, batch) for row in rows}

    def _measure(self, name: str, wanted: Array, got: Array) -> tuple[tuple[int, ...], float, float]:
        difference, index = _distance(wanted, got)
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

    def verification(self) -> Verification:
        """Return what was found; every answer was within the tolerance."""
        agreement = {k: float(np.mean(hits)) if hits else None for k, hits in self.hits.items()}
        return Verification(
            passed=True,
            max_abs_diff=self.max_abs,
            max_rel_diff=self.max_rel,
            cases=len(self.compared),
            tolerance=str(self.tolerance or self.own),
            worst=self.worst,
            top1=agreement[1],
            top5=agreement[5],
            notes=tuple(self.notes.values()),
        )


def _magnitude(answer: Array) -> float:
    if answer.dtype.kind not in "fiub":
        return 0.0
    finite = answer[np.isfinite(answer)]
    return float(np.abs(finite.astype(np.float64)).max(initial=0.0))


def _distance(wanted: Array, got: Array) -> tuple[float, tuple[int, ...]]:
    """Return the largest difference of two samples and its place; NaN and unequal infinities are infinitely far."""
    if not _is_float(wanted):
        gaps = np.asarray(wanted != got).astype(float)
    else:
        with np.errstate(invalid="ignore"):
            gaps = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
        gaps = np.where(wanted == got, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))
    place = np.unravel_index(int(gaps.argmax()), gaps.shape) if gaps.size else ()
    return float(gaps.max(initial=0.0)), tuple(map(int, place))


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
