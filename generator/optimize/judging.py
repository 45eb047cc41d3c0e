"""The decision whether a variant may be published: its answers are compared with the source's, then its accuracy."""

from dataclasses import dataclass, replace

from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.optimize.task import ANY, Task
from modelrepo.generator.specs.findings import Accuracy, Verification
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.verification import accuracy, datasets, usefulness
from modelrepo.generator.verification.comparison import Differs, Precision
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.verify import Run, SourceFault, verify

# How far the answers of a pruned model may change if its outputs rank nothing, so that it has no accuracy.
PRUNED_MAX_DIFFERENCE = Tolerance(relative=0.5)
BY_USE = "that of its use"
BY_ACCURACY = "that of its accuracy"
NO_CLASSES = "--max-accuracy-drop has no effect: the model predicts no classes, so only differences are limited"
WITHIN_LIMIT = "the accuracy on your labels is within --max-accuracy-drop, which decides"
DECIDES = "; --max-accuracy-drop lets the accuracy decide"
COMPARE_REAL = f"With {accuracy.ENOUGH} --samples, real inputs are compared instead of generated ones"
NO_DROP = "--max-accuracy-drop has no effect on embeddings: their cosine is limited"


@dataclass(frozen=True)
class Judgement:
    """The result of comparing a variant with its source."""

    verification: Verification
    accuracy: Accuracy | None = None
    problem: VerificationError | None = None  # why it can't be published
    notes: tuple[str, ...] = ()

    @property
    def blames_the_source(self) -> bool:
        """Whether the source or its inputs cause the problem, so that every other variant would have it."""
        return isinstance(self.problem, SourceFault | InputRefused)

    def __str__(self) -> str:
        if self.problem:
            return self.problem.message
        worst, reached = self.verification.max_rel_diff, self.accuracy
        told = "equal" if worst is None else f"worst difference {worst:.1e}"
        return f"{told}, {reached}" if reached else told


def judge(task: Task, run: Run, measured: Dataset) -> Judgement:
    """Compare a variant, which answers as ``run``, with the source; its accuracy is measured on ``measured``.

    A coarse precision of a language model is judged by the use of its answers, if these say enough.
    """
    used = _judged_by_use(task, run, measured) if task.by_use else None
    if used:
        return used
    try:
        found = _compared(task, run, measured, task.precision)
    except Differs as error:
        return _judged_beside(task, run, measured, error)
    except VerificationError as error:
        return Judgement(task.proven.verification, problem=error)
    if not task.costs_accuracy:  # its numbers are compared as those of the export
        known = task.proven.verification
        return Judgement(replace(found, accuracy=known.accuracy, samples=known.samples))
    try:
        reached, notes = _reached(task, run, measured)
    except SourceFault as error:
        return Judgement(found, problem=error)
    if task.options.prune and not task.options.tolerance:
        found = replace(found, tolerance=BY_ACCURACY if reached else str(PRUNED_MAX_DIFFERENCE))
    return Judgement(found, reached, _too_costly(reached) if reached else _moved_too_far(task, found), notes)


def _judged_beside(task: Task, run: Run, measured: Dataset, differs: Differs) -> Judgement:
    """Judge a variant whose numbers are too far off: its accuracy is told as well, and decides if the user limits it.

    It can decide only if it is that of believable labels, and all numbers are the scores of one classifier.
    """
    refused = Judgement(task.proven.verification, problem=VerificationError(differs.message, _next_step(task, differs)))
    if not task.costs_accuracy:
        return refused
    try:
        reached, notes = _reached(task, run, measured)
        if reached is None or not _is_told(task, reached):
            return refused
        costly = _too_costly(reached)
        if costly:
            return replace(refused, problem=VerificationError(f"{costly.message}; {differs.message}", costly.hint))
        if _can_decide(task, reached) and task.options.max_accuracy_drop is not None:
            found = replace(_compared(task, run, measured, ANY), tolerance=BY_ACCURACY)
            return Judgement(found, reached, None, (*notes, f"{differs.message}: {WITHIN_LIMIT}"))
    except VerificationError:  # with ANY tolerance, a label or a number is missing: the first difference says more
        return refused
    beside = f"{differs.message}; {reached} (the source: {reached.source:.1%})"
    step = f"{_next_step(task, differs)}{DECIDES if _can_decide(task, reached) else ''}"
    return replace(refused, problem=VerificationError(beside, step))


def _next_step(task: Task, differs: Differs) -> str:
    """Return the hint of a difference; one on a generated input may not matter for real ones."""
    generated = not _on_likely(task)
    return f"{differs.hint}. {COMPARE_REAL}" if generated and differs.hint else differs.hint


def _can_decide(task: Task, reached: Accuracy) -> bool:
    """Whether a limit of accuracy that the user sets replaces that of the numbers.

    A limit that lets a variant guess limits nothing.
    """
    floats = [spec for spec in task.proven.export.signature.outputs if spec.dtype.startswith("float")]
    guesses = not accuracy.believable(replace(reached, source=reached.value))
    labelled = reached.measured == accuracy.TOP1_OF_LABELS and not guesses
    return task.plainly_coarse and labelled and len(floats) == 1


def _is_told(task: Task, reached: Accuracy) -> bool:
    """Whether an accuracy says something: of enough inputs, and of a model that is known to be a classifier."""
    if reached.samples < accuracy.ENOUGH:
        return False
    return reached.measured != accuracy.LARGEST_AGREEMENT or task.options.max_accuracy_drop is not None


def _judged_by_use(task: Task, run: Run, measured: Dataset) -> Judgement | None:
    """Judge by labels, or by directions and classes, where numbers may be any; None if some output has no such use."""
    try:
        found = replace(_compared(task, run, measured, ANY), tolerance=BY_USE)
        labelled, notes = _reached(task, run, measured) if measured.labels is not None else (None, ())
        if labelled and labelled.measured == accuracy.TOP1_OF_LABELS:
            return Judgement(found, labelled, _too_costly(labelled), notes)
        reached = usefulness.reached(
            task.proven.source,
            task.proven.reference.recall,
            run,
            replace(measured, labels=None),
            task.proven.export.signature,
            batch=task.max_batch_size,
            limit=task.max_accuracy_drop,
        )
    except VerificationError as error:
        return Judgement(task.proven.verification, problem=error)
    if reached is None:
        return None
    worst = usefulness.worst(reached)
    if worst.is_cosine and task.options.max_accuracy_drop is not None:
        notes = (*notes, NO_DROP)
    return Judgement(found, worst, _too_turned(worst) if worst.is_cosine else _too_costly(worst), notes)


def _reached(task: Task, run: Run, data: Dataset) -> tuple[Accuracy | None, tuple[str, ...]]:
    """Return the accuracy on believable labels, or else the agreement; and notes for the user."""

    def measured(asked: Dataset) -> Accuracy | None:
        return accuracy.measured(
            task.proven.reference.recall,
            run,
            asked,
            task.proven.export.signature,
            batch=task.max_batch_size,
            limit=task.max_accuracy_drop,
            classes=len(task.proven.source.labels),
        )

    reached = measured(data)
    if reached is None:
        return None, (NO_CLASSES,) if task.options.max_accuracy_drop is not None else ()
    if data.labels is None or accuracy.believable(reached):
        return reached, ()
    return measured(replace(data, labels=None)), (_disbelieved(reached),)


def _disbelieved(reached: Accuracy) -> str:
    few = f"{reached.samples} labels are too few"
    wrong = f"the source predicts {reached.source:.1%} of {reached.samples} labels, no better than guessing"
    return f"{few if reached.samples < accuracy.ENOUGH else wrong}: agreement with the source is measured instead"


def _compared(task: Task, run: Run, measured: Dataset, precision: Precision | None) -> Verification:
    """Compare number by number: on generated inputs, or on data that the variant was made for.

    Enough samples of the user's count as such: a classifier may be undecided on noise, where FP16 decides otherwise.
    """
    signature = task.proven.export.signature
    found = verify(
        task.proven.reference.recall,
        run,
        signature,
        max_batch_size=task.max_batch_size,
        sizes=() if task.max_batch_size or signature.batch_dim is None else (1,),
        seed=task.options.seed,
        samples=task.proven.samples.compared,
        tolerance=task.options.tolerance,
        precision=precision,
        ranges=task.proven.ranges,
        pools=measured.compared if _on_likely(task) else (),
        exchanging=task.costs_accuracy,
    )
    samples = task.proven.samples
    counted = samples.count if measured is samples and task.costs_accuracy else 0
    return replace(found, samples=datasets.told(samples, task.options.samples, counted))


def _on_likely(task: Task) -> bool:
    """Whether a variant is compared on data that it was made for, instead of generated inputs."""
    made_for = task.options.prune is not None or task.calibrated or task.by_use
    return made_for or task.proven.samples.count >= accuracy.ENOUGH


def _too_costly(reached: Accuracy) -> VerificationError | None:
    if reached.drop <= reached.limit + 1e-9:
        return None
    return VerificationError(
        f"{reached.measured} is {reached.value:.1%} of {reached.samples} samples, where {reached.source:.1%} less "
        f"{reached.limit:.1%} is allowed",
        "Allow more with --max-accuracy-drop",
    )


def _too_turned(reached: Accuracy) -> VerificationError | None:
    if reached.drop <= reached.limit:
        return None
    return VerificationError(
        f"{reached}, where {1 - reached.limit:.3f} is needed",
        "Compare numbers instead, within a --tolerance of yours",
    )


def _moved_too_far(task: Task, found: Verification) -> VerificationError | None:
    """Return why a pruned model without an accuracy may not be published, or None."""
    moved, most = found.max_rel_diff or 0.0, PRUNED_MAX_DIFFERENCE.relative
    if not task.options.prune or task.options.tolerance or moved <= most:
        return None
    return VerificationError(
        f"pruning changed the answers by {moved:.0%} of their magnitude, where {most:.0%} is allowed",
        "Prune less, or allow more with --tolerance",
    )
