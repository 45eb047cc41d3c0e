"""Parity with the source, and batch invariance: the proof of every published model."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.specs.findings import Verification, Worst
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.system import memory
from modelrepo.generator.verification.comparison import (
    NOISE,
    Comparison,
    Differs,
    Precision,
    largest_difference,
    largest_magnitude,
    why_useless,
)
from modelrepo.generator.verification.inputs import (
    CONSTANT,
    FAMILIES,
    ODD_BATCH,
    Pool,
    batch_sizes,
    generated,
    without_denormals,
)
from modelrepo.generator.verification.probing import Arbitrary, Kind, Probe, Probing

Run = Callable[[Arrays], Mapping[str, Array]]
# A difference is explained by rounding if a rounding error in the input alone changes the source's answer by this share
# of it: a conversion rounds differently at every step.
EXPLAINS = 0.1
# Of a probe at random, this share: it may be a hundred times as large as usual inputs, where each step rounds more. Of
# an input of one number as well: rounding errors add up in a mean, and nothing else is left of its deviations.
EXPLAINS_PROBE = 0.05
# More labels of probes than these, or than this share, between equal scores of the candidate follow another rule; far
# from its data a model of distances has none but equal scores in single precision.
TIED_ROWS, TIED_SHARE = 3, 0.3
# Parts of refused probes are asked again up to so often: a source that refuses nearly everything may be slow.
AGAIN = 400
# Of so many probes in a batch, one is asked alone, too: what mixes samples may depend on their values.
SPARED = 64
# A step of a quantized output, and its rounding.
ONE_STEP = 1.01
# Whole numbers beyond 2^53 are summed as float64, by ONNX Runtime.
EXACT_WHOLE = 2.0**53
# The begin of a note, for a source that is random on what is generated, and not on the user's samples.
ONLY_SAMPLES = "only your samples are compared"
# The number of random directions in which an input is rounded, each up and down.
DRAWS = 3


def verify(
    source: Run,
    candidate: Run,
    signature: Signature,
    *,
    max_batch_size: int,
    seed: int,
    samples: Sequence[Pool] = (),
    tolerance: Tolerance | None = None,
    precision: Precision | None = None,
    sizes: Sequence[int] = (),
    pools: Sequence[Pool] = (),
    probing: Probing | None = None,
    ranges: Mapping[str, float] | None = None,
    arbitrary: Arbitrary | None = None,
    recorded: bool = False,
    rounds: float = 0.0,
    mixing: Collection[str] = (),
    exchanging: bool = False,
) -> Verification:
    """Compare ``candidate`` with ``source`` on every input family at every batch size, and on the user's samples.

    ``precision`` is the candidate's, if it is lower than the source's. ``sizes``, in rising order, replaces the batch
    sizes that follow from ``max_batch_size``; ``pools`` replaces the generated inputs. ``probing`` makes further
    inputs, which are compared once, at the largest batch size. ``ranges`` has the largest magnitude that an output can
    have, if its values lie in a known range; answers of ``arbitrary`` outputs to inputs with equal values are left out.
    A ``recorded`` candidate answers the batches of the generated inputs in order, and nothing else. ``rounds`` is the
    share of their largest magnitude to which the source itself rounds inputs, if it is more than that of their type.
    ``mixing`` names the outputs that are known not to be batch invariant: a few inputs may not show it. With
    ``exchanging``, labels may follow scores whose order changes within their limit, as in ``Comparison``.

    Inputs that the source refuses, or does not answer with numbers, are left out and counted, and so are those for
    which rounding decides the source's answer.

    ``batch_invariant`` is True if the source gives samples the same answers alone and in a batch, and None if there are
    no batches. Otherwise ``mixing`` names the outputs, and models are compared batch by batch. Raises VerificationError
    with input, output and distance if an answer is outside the tolerance or NaN, if the source answers the same input
    differently each time, or if it answers none of the inputs.
    """
    arbitrary = arbitrary or Arbitrary()
    limits = (tolerance, precision, ranges or {}, recorded, arbitrary, rounds, exchanging)
    if signature.batch_dim is None:
        alone = replace(arbitrary, tied=lambda arrays, near: arbitrary.tied(_without_lead(arrays), near))
        whole = _Verifier(_whole(source), _whole(candidate), signature, (), *limits[:-3], alone, *limits[-2:])
        return whole.verification(seed, samples, pools, probing)
    sizes = sizes or batch_sizes(max_batch_size or ODD_BATCH)
    try:
        batched = _Verifier(source, candidate, signature, sizes, *limits)
        batched.mixing |= {*mixing}
        return batched.verification(seed, samples, pools, probing)
    except _NotBatched as error:
        one_by_one = _Verifier(_as_one(source), _as_one(candidate), signature, (), *limits)
        found = one_by_one.verification(seed, samples, pools, probing)
        outputs = tuple(spec.name for spec in signature.outputs)
        return replace(found, batch_invariant=False, mixing=outputs, notes=(*found.notes, str(error)))


def answered(pool: Pool, run: Run, signature: Signature) -> Iterator[tuple[int, Arrays]]:
    """Yield the rows that a model answers with numbers, and its answers; it may refuse some values.

    The model gets each row as ``Pool.single`` returns it. Raises VerificationError at the end if there were none.
    """
    some, problem = False, ""
    for row in range(len(pool.families)):
        try:
            answers = {name: np.asarray(answer) for name, answer in run(pool.single(row, signature)).items()}
        except VerificationError as error:
            problem = error.message
            continue
        alone = signature.batch_dim is None
        batch = {name: answer[np.newaxis] if alone else answer for name, answer in answers.items()}
        useless = why_useless(batch, pool, [row])
        if useless is None:
            some = True
            yield row, answers
        problem = useless or problem
    if not some:
        raise VerificationError(f"no answers to compare with: {problem}")


def usable(pool: Pool, run: Run, signature: Signature) -> Pool:
    """Return the rows that a model answers with numbers; VerificationError if there are none."""
    return pool.only([row for row, _ in answered(pool, run, signature)])


class SourceFault(VerificationError):
    """The source's own answers can't be compared with anything: the candidate is not at fault."""


class _Random(SourceFault):
    """The source answers the same input differently each time."""


class _Useless(Exception):
    """The source refuses some rows of a batch, or does not answer them with numbers."""


class _NotBatched(Exception):
    """The source answers single samples, but not batches."""


def _as_one(run: Run) -> Run:
    """Return a run whose answers get a leading axis of 1, whatever their shapes: a batch of one."""
    return lambda arrays: {name: np.asarray(answer)[np.newaxis] for name, answer in run(arrays).items()}


def _whole(run: Run) -> Run:
    """Return a run that takes a whole input set with a leading axis of 1, and answers with one."""
    return _as_one(lambda arrays: run(_without_lead(arrays)))


def _without_lead(arrays: Arrays) -> Arrays:
    return {name: array[0, ...] for name, array in arrays.items()}


class _Verifier:
    """Runs both models at the given batch sizes; without any, row by row, and compares each answer as a whole."""

    def __init__(
        self,
        source: Run,
        candidate: Run,
        signature: Signature,
        sizes: Sequence[int],
        tolerance: Tolerance | None,
        precision: Precision | None,
        ranges: Mapping[str, float],
        recorded: bool,
        arbitrary: Arbitrary,
        rounds: float,
        exchanging: bool,
    ) -> None:
        self.rounds = rounds
        self.recorded, self.arbitrary = recorded, arbitrary
        self.source, self.candidate, self.signature, self.sizes = source, candidate, signature, sizes or (1,)
        self.blind = not all(spec.domain.known for spec in signature.inputs)
        self.comparison = Comparison(
            tolerance, precision=precision, whole=not sizes, ranges=ranges, exchanging=exchanging
        )
        self.notes: list[str] = []
        self.mixing: set[str] = set()
        self.left_out = LeftOut()
        self.tied = 0  # labels between scores that are equal in the candidate
        self.first_tied: Differs | None = None
        self.again = 0  # how often parts of refused probes were asked
        self.rows = 0  # that were compared

    def verification(
        self, seed: int, samples: Sequence[Pool], pools: Sequence[Pool], probing: Probing | None
    ) -> Verification:
        """Compare everything and return the result."""
        took: Callable[[Pool], None] = probing.took if probing else lambda pool: None
        for pool in pools:
            self._compare(pool)
        if not pools:
            try:
                self._compare_generated(seed, bool(samples), took)
            except _Random as error:
                if not samples:
                    raise
                # Some models draw as much noise as an input says, and none for the user's samples.
                self.notes.append(f"{ONLY_SAMPLES}: {error.message}")
                probing = None
        self._refuse_unsteady()
        self._compare_samples(samples, took)
        if probing:
            self._compare_probes(probing)
            self._refuse_unsteady()
        return replace(
            self.comparison.verification((*self.notes, *self.left_out.notes())),
            batch_invariant=not self.mixing if self.sizes[-1] > 1 else None,
            mixing=tuple(sorted(self.mixing)),
        )

    def _compare_samples(self, samples: Sequence[Pool], took: Callable[[Pool], None]) -> None:
        """Compare the user's samples; each must be answered."""
        self.comparison.equal_nan = self.blind
        for pool in samples:
            if self.blind:  # row by row, so that the error names the refused sample
                for row in range(len(pool.families)):
                    self._alone(pool, row)
            self._compare(pool)
            took(pool)
        self.comparison.equal_nan = False
        self._refuse_unsteady()

    def _compare_generated(self, seed: int, has_samples: bool, took: Callable[[Pool], None]) -> None:
        """Compare the generated inputs that the source answers with numbers."""
        answered = refused = 0
        problem = ""
        unasked = {spec.name for spec in self.signature.inputs if spec.optional}
        for for_refusing, pool in generated(self.signature, self.sizes[-1], seed):
            if for_refusing and answered:
                break
            kept = self._compare_answered(pool)
            answered += len(kept.families)
            if len(kept.families) < len(pool.families):
                refused += len(pool.families) - len(kept.families)
                problem = problem or self._problem_of(pool)
            if kept.families:
                unasked -= pool.arrays.keys()
                took(kept)
        if not answered and not has_samples:
            raise SourceFault(
                f"none of the generated inputs can be compared; {problem}",
                "Give inputs that the model answers with --samples, or say what an input takes with --domain",
            )
        if unasked and not has_samples:
            self.notes.append(
                f"no generated input with {', '.join(sorted(unasked))} is answered: give some as --samples"
            )
        if refused:
            self.notes.append(
                f"{refused} of {refused + answered} generated inputs are left out; {problem}"
                if answered
                else f"no generated input is answered, so your samples and changes of them are compared; {problem}"
            )

    def _compare_answered(self, pool: Pool) -> Pool:
        """Compare the rows of a pool that the source answers with numbers, and return them."""
        try:
            self._compare(pool, choosy=True)
        except _Useless:
            pool = pool.only([row for row in range(len(pool.families)) if self._problem(pool, row) is None])
            if pool.families:
                self._compare(pool)
        return pool

    def _problem_of(self, pool: Pool) -> str:
        """Return the first reason why a row of a pool is useless."""
        return next(filter(None, (self._problem(pool, row) for row in range(len(pool.families)))), "")

    def _alone(self, pool: Pool, row: int) -> Mapping[str, Array]:
        """Return the source's answers to one row."""
        try:
            answers = self.source(pool.rows([row]))
        except InputRefused as error:
            raise InputRefused(f"{error.message}, on input {pool.families[row]!r}") from error
        if any(answer.shape[:1] != (1,) for answer in answers.values()):
            raise _NotBatched("the source model doesn't answer one sample with a batch of one")
        return answers

    def _problem(self, pool: Pool, row: int) -> str | None:
        """Return why one row is useless: the source refuses it, or its answers are not numbers; otherwise None."""
        try:
            return why_useless(self._alone(pool, row), pool, [row])
        except InputRefused as error:
            return error.message

    def _compare(self, pool: Pool, choosy: bool = False) -> None:
        """Compare a pool at every batch size; with ``choosy``, raise _Useless if the source does not answer it all."""
        judged = not self.comparison.equal_nan
        reference = _Reference(self.source, pool, self.sizes[-1], judged, choosy)
        self.comparison.learn(reference.answers, pool)
        if not self.comparison.cases:
            self._refuse_random(pool, reference)
        if self.sizes[-1] > 1:
            self.mixing |= reference.differing_alone(self.comparison)
        asked = set()
        unsteady: set[int] = set()
        for batch, rows in _batches(pool, self.sizes):
            memory.trim()  # the models run in turn, so that one's freed memory serves the other
            wanted = self.source(pool.rows(rows)) if self.mixing else reference.rows(rows)
            got = self.candidate(pool.rows(rows))
            self._add((wanted, got), pool, rows, batch, unsteady)
            asked |= {(batch, row) for row in rows}
        self.comparison.cases += len(asked)
        self.rows += len(pool.families)

    def _add(
        self,
        answers: tuple[Arrays, Arrays],
        pool: Pool,
        rows: Sequence[int],
        batch: int,
        unsteady: set[int],
        kind: Kind | None = None,
    ) -> None:
        """Add a batch to the comparison, without the rows for which rounding decides the source's own answer.

        ``answers`` are those of both models. ``unsteady`` has such rows of the pool, and gets those of the batch;
        ``kind`` is that of a probe. A probe may be far from usual inputs, where the rounding of an input alone can come
        close to the limit without reaching it.
        """

        def forgiven(error: Differs) -> bool:
            if error.row in unsteady:
                return True
            place = rows.index(error.row)
            moved = self._explained(error.found, pool.rows([error.row]), (*answers, place), kind)
            if moved is None:
                return False
            self.first_tied = self.first_tied or (error if self.tied else None)
            unsteady.add(error.row)
            self.left_out.rounded(error, moved)
            return True

        self.comparison.add(*answers, pool, rows, batch, forgiven)

    def _refuse_unsteady(self) -> None:
        """Raise VerificationError if rounding decides too many answers, or hides another rule for equal scores."""
        if self.first_tied and self.tied > max(TIED_ROWS, TIED_SHARE * self.rows):
            raise self.first_tied
        if self.left_out.unsteady * 2 > self.rows:
            raise self.left_out.refusal()

    def _compare_probes(self, probing: Probing) -> None:
        """Compare probes once, at the largest batch size, and leave out those that the source does not answer."""
        self.comparison.overflowing = True
        for probe in probing.probes(self.sizes[-1] if not self.mixing else 1):
            answered, wanted = self._answers_to(probe)
            if not answered:
                probing.answered(probe, ())
                continue
            kept, rows = probe.pool.only(answered), range(len(answered))
            got = self.candidate(kept.arrays)
            self._add((wanted, got), kept, rows, len(rows), set(), probe.kind)
            if self.sizes[-1] > 1:
                self.mixing |= self._mixing(kept, wanted)
            self.comparison.cases += len(rows)
            self.rows += len(rows)
            probing.answered(probe, answered)
        self.comparison.overflowing = False

    def _mixing(self, pool: Pool, together: Arrays) -> set[str]:
        """Return the outputs of the source that differ if some rows of a pool are asked alone."""
        count = len(pool.families)
        differing: set[str] = set()
        for row in range(0, count, SPARED) if count > 1 else ():
            alone = {name: answer[0, ...] for name, answer in self.source(pool.rows([row])).items()}
            differing |= self.comparison.differing({name: together[name][row, ...] for name in alone}, alone)
        return differing

    def _answers_to(self, probe: Probe) -> tuple[list[int], Arrays]:
        """Return the rows of a probe that the source answers with numbers, and its answers; halves are asked again."""
        answers: list[tuple[int, Mapping[str, Array]]] = []
        waiting = [list(range(len(probe.pool.families)))]
        while waiting:
            rows = waiting.pop()
            try:
                found = self.source(probe.pool.rows(rows))
                whole = all(answer.shape[:1] == (len(rows),) for answer in found.values())
                useful = whole and why_useless(found, probe.pool, rows) is None
            except InputRefused:
                useful = False
            if useful:
                answers += [
                    (row, {name: each[place] for name, each in found.items()}) for place, row in enumerate(rows)
                ]
            elif len(rows) > 1 and self.again < AGAIN:
                self.again += 2
                waiting += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
        answers.sort(key=lambda pair: pair[0])
        shapes = [tuple(np.shape(each) for each in answer.values()) for _, answer in answers]
        answers = [pair for pair, shape in zip(answers, shapes, strict=True) if shape == shapes[0]]
        names = answers[0][1] if answers else ()
        return [row for row, _ in answers], {name: np.stack([answer[name] for _, answer in answers]) for name in names}

    def _moved(self, arrays: Arrays, output: str) -> float:
        """Return how much an output of the source changes if its input changes by a rounding error.

        0.0 if the source refuses such inputs, or gives no numbers or different shapes.
        """
        asked = (arrays, *(nudged(arrays, sign, draw, self.rounds) for draw in range(DRAWS) for sign in (1, -1)))
        try:
            before, *after = (self.source(each)[output] for each in asked)
        except InputRefused:
            return 0.0
        moved = [largest_difference(before, each)[0] for each in after if each.shape == before.shape]
        return max(filter(math.isfinite, moved), default=0.0)

    def _explained(
        self, found: Worst, row: Arrays, answers: tuple[Arrays, Arrays, int], kind: Kind | None
    ) -> float | None:
        """Return how far rounding moves the source's own answer to a row, if that explains a difference.

        ``answers`` are those of both models to a batch, and the row's place in it.
        """
        size = largest_magnitude(answers[0][found.output][answers[2], ...])
        rounded = found.difference <= NOISE * size
        if self._tied(row, found.output, near=kind is not None) or (rounded and size > EXACT_WHOLE):
            return found.difference
        if self._agrees_on_zeros(row, found):
            return 0.0
        if kind is not None and found.difference <= ONE_STEP * self.arbitrary.steps.get(found.output, 0.0):
            return found.difference
        undecided = self.comparison.undecided(*answers, found.output)
        if undecided == "rounded" or (undecided == "tied" and kind is not None):
            self.tied += undecided == "tied"
            return 1.0
        if kind is Kind.EXACT:
            return None
        special = kind is Kind.SPECIAL or (found.family in CONSTANT and not self.recorded)
        if found.batch > 1 and _is_constant(row) and self._depends_on_place(row, found):
            return found.difference
        if special and not rounded and not self._differs_nearby(row, found):
            return None
        moved = self._moved(row, found.output)
        share = EXPLAINS_PROBE if kind is Kind.RANDOM or _is_constant(row) else EXPLAINS
        enough = share * found.difference if math.isfinite(found.difference) else found.limit
        return moved if moved > (max(found.limit, enough) if kind is None else enough) else None

    def _tied(self, arrays: Arrays, output: str, *, near: bool) -> bool:
        """Whether an output depends on a choice among equal values; with ``near``, equal but for rounding."""
        return output in self.arbitrary.outputs and self.arbitrary.tied(arrays, near)

    def _agrees_on_zeros(self, arrays: Arrays, found: Worst) -> bool:
        """Whether an input holds denormal numbers, which some kernels count as zero, and the models agree on zeros."""
        if self.recorded:
            return False
        flushed = {name: without_denormals(array) for name, array in arrays.items()}
        if all(flushed[name] is array for name, array in arrays.items()):
            return False
        try:
            one, other = self.source(flushed)[found.output], self.candidate(flushed)[found.output]
        except VerificationError:
            return False
        return one.shape == other.shape and largest_difference(one, other)[0] <= found.limit

    def _depends_on_place(self, arrays: Arrays, found: Worst) -> bool:
        """Whether the models agree on an input alone, and the converted one differs from itself in a batch of copies.

        A vectorized kernel rounds the rest of its numbers in another way. A model that divides by the range of its
        input makes that large for a constant one, such as silence. A batch that mixes its samples answers equal ones
        alike.
        """
        if self.recorded:
            return False
        one, other = self.source(arrays)[found.output], self.candidate(arrays)[found.output]
        if one.shape != other.shape or largest_difference(one, other)[0] > found.limit:
            return False
        batch = {name: np.repeat(array, found.batch, axis=0) for name, array in arrays.items()}
        answers = self.candidate(batch)[found.output]
        moved = max(largest_difference(other[0], answer)[0] for answer in answers)
        return moved > max(found.limit, EXPLAINS * found.difference)

    def _differs_nearby(self, arrays: Arrays, found: Worst) -> bool:
        """Whether the models also differ if every number of the input is the next larger or smaller one."""
        for draw in range(2 * DRAWS):
            near = _next(arrays, draw)
            try:
                one, other = self.source(near)[found.output], self.candidate(near)[found.output]
            except VerificationError:
                continue
            if one.shape != other.shape or largest_difference(one, other)[0] > found.limit:
                return True
        return False

    def _refuse_random(self, pool: Pool, reference: "_Reference") -> None:
        """Run some inputs twice, and raise SourceFault if the answers differ: then nothing can be compared.

        Also raised if the source answers a batch, but refuses a single row of it.
        """
        try:
            self._ask_twice(pool, reference)
        except InputRefused as error:
            raise SourceFault(
                f"the source answers a batch, but no single sample of it: {error.message}",
                "Triton's clients send single samples, too: let its first dimension have a size, or take one sample",
            ) from error

    def _ask_twice(self, pool: Pool, reference: "_Reference") -> None:
        for row in range(len(pool.families) if self.blind else 1):
            asked_alone = self.sizes[-1] == 1
            first = reference.rows([row]) if asked_alone else self.source(pool.rows([row]))
            for name, again in self.source(pool.rows([row])).items():
                answer = first[name]
                if answer.shape != again.shape or not self.comparison.same(name, answer, again):
                    raise _Random(
                        f"the source model answers the same input differently each time, in output {name!r} on input "
                        f"{pool.families[row]!r}",
                        "It draws random numbers, as dropout in training does, or remembers earlier inputs, so nothing "
                        "can be compared with it: docs/how-to/when-export-fails.md#dropout",
                    )


@dataclass
class LeftOut:
    """The inputs that are not compared since rounding decides, and the first of them."""

    unsteady: int = 0
    example: Differs | None = None
    moved: float = 0.0

    def rounded(self, error: Differs, moved: float) -> None:
        """Count an input for which rounding decides the source's answer: it moved that far, or between two labels."""
        self.unsteady += 1
        if self.example is None:
            self.example, self.moved = error, moved

    def notes(self) -> tuple[str, ...]:
        """Return a note on the inputs for which rounding decides."""
        if not self.unsteady or self.example is None:
            return ()
        return (
            f"{self.unsteady} inputs are left out, since rounding decides the source's answer, as on input "
            f"{self.example.found.family!r} in output {self.example.found.output!r}",
        )

    def refusal(self) -> VerificationError:
        """Return the error that most inputs can't be compared."""
        message = self.example.message if self.example else ""
        return VerificationError(
            f"{message}; the source's own answer changes by {self.moved:.3g} if the input changes by rounding",
            "Rounding decides most of the source's answers, so no conversion can be verified: give inputs that it "
            "answers steadily with --samples, use trained weights, or set a looser limit with --tolerance",
        )


def nudged(arrays: Arrays, sign: int, draw: int, share: float = 0.0) -> Arrays:
    """Return inputs whose floats are all changed by the rounding error of the largest, randomly up or down.

    The opposite ``sign`` changes each in the opposite direction; every ``draw`` has other directions. The error is
    ``share`` of the largest, or that of the type if this is larger.
    """
    random, changed = np.random.default_rng(draw), dict(arrays)
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating):
            largest = largest_magnitude(array)  # denormal numbers may count as zero
            size = largest if largest >= np.finfo(array.dtype).tiny else 1.0
            unit = max(share, float(np.finfo(array.dtype).eps)) * size
            with np.errstate(over="ignore"):
                changed[name] = (array + sign * unit * random.choice((-1.0, 1.0), array.shape)).astype(array.dtype)
    return changed


def _is_constant(arrays: Arrays) -> bool:
    """Whether every input of floats has one value everywhere."""
    floats = [array for array in arrays.values() if array.dtype.kind == "f"]
    return bool(floats) and all((array == array.flat[:1]).all() for array in floats)


def _next(arrays: Arrays, draw: int) -> Arrays:
    """Return inputs with the next larger or smaller float for each: all one way for draws 0 and 1, then at random."""
    random, changed = np.random.default_rng(draw), dict(arrays)
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating):
            ends = np.full(array.shape, np.inf) if draw < 2 else random.choice((-np.inf, np.inf), array.shape)
            changed[name] = np.nextafter(array, (ends if draw else -ends).astype(array.dtype))
    return changed


def _batches(pool: Pool, sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield batches with every family at every size; a short last batch is filled up with the first rows."""
    count = len(pool.families)
    for size in sizes:
        shown = count if size == sizes[-1] else min(count, len(FAMILIES))
        for start in range(0, shown, size):
            yield size, [row % count for row in range(start, start + size)]


class _Reference:
    """The source's answers to every row of a pool, run in batches of the largest size.

    With ``judged``, SourceFault is raised for answers that are useless for comparison; with ``choosy``, _Useless, also
    for rows that the source refuses.
    """

    def __init__(self, source: Run, pool: Pool, size: int, judged: bool, choosy: bool) -> None:
        self.source, self.pool, self.choosy = source, pool, choosy
        count = len(pool.families)
        self.answers: dict[str, list[Array]] = {}
        for start in range(0, count, size):
            rows = [row % count for row in range(start, start + size)]
            answers = self._batch(rows)
            problem = why_useless(answers, pool, rows) if judged else None
            if problem:
                raise _Useless if choosy else SourceFault(problem, "Check its weights: such a model is not published")
            for name, answer in answers.items():
                self.answers.setdefault(name, []).extend(answer[row, ...] for row in range(min(size, count - start)))

    def _batch(self, rows: list[int]) -> Mapping[str, Array]:
        try:
            answers = self.source(self.pool.rows(rows))
        except InputRefused as error:
            if self.choosy:
                raise _Useless from error
            if len(rows) == 1:
                raise
            raise _NotBatched(f"samples are asked one by one; {error.message}") from error
        wrong = [name for name, answer in answers.items() if answer.shape[:1] != (len(rows),)]
        if wrong:
            raise _NotBatched(f"samples are asked one by one: output {wrong[0]!r} does not keep the batch's size")
        return answers

    def rows(self, rows: Sequence[int]) -> Arrays:
        return {name: np.stack([answers[row] for row in rows]) for name, answers in self.answers.items()}

    def differing_alone(self, comparison: Comparison) -> set[str]:
        """Return the outputs that differ if the first samples are run one by one."""
        differing: set[str] = set()
        for row in range(min(len(self.pool.families), len(FAMILIES))):
            alone = {name: answer[0, ...] for name, answer in self.source(self.pool.rows([row])).items()}
            differing |= comparison.differing({name: self.answers[name][row] for name in alone}, alone)
        return differing
