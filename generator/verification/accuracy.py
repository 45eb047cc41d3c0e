"""The accuracy of a classifier and of its source: the share of their answers that are right."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.preparation import CLASSES
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.verification import labelled
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.verify import Run, SourceFault

TOP1_OF_LABELS, TOP1_AGREEMENT = "top-1 of labels", "top-1 agreement"
# Measured if the model may be something else than a classifier: its outputs could be embeddings.
LARGEST_AGREEMENT = "agreement in the largest element"
# How many inputs accuracy is measured on if the user gives none: one different answer is less than 1%.
GENERATED = 128
# Accuracy on fewer samples says too little.
ENOUGH = 32
# This many standard deviations more right answers than by guessing are not chance.
CLEARLY = 3
# The class that stands for an answer of NaN.
NO_CLASS = -1
UNUSED = "the labels of your samples are not used: no output has a class, or a score for each, for a sample"
PREPARED = (
    "are the samples prepared as for training (scaled alike, columns or channels in the same order), and do the labels "
    "count the classes in the model's order?"
)


@dataclass(frozen=True)
class _Predicted:
    """The classes that two models predict for the same samples, as numbers; NO_CLASS for none."""

    source: Array
    candidate: Array
    certain: bool  # the output is one of classes
    asked: Array  # whether the source answers a sample with numbers


def measured(
    source: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, limit: float, classes: int = 0
) -> Accuracy | None:
    """Compare the classes that both models predict for ``data``, run in batches of ``batch`` (0: one by one).

    An answer is right if it equals the label, or the source's answer for data without labels. With labels, the class is
    the answer of an output that answers one of them for each sample, if there is one. Otherwise it is the largest
    element of the output with ``classes`` numbers a sample. If there is no such output, or the number of classes is
    unknown (0), it is that of the first output with several floats a sample; without labels, the result is then called
    LARGEST_AGREEMENT. Of a list of classes, the best first, it is the
    first. Labels of two classes are compared with a single float a sample, too. ``limit`` is the drop that
    is allowed, in 0..1. Returns None for a model without such an output. Samples that the source answers with NaN are
    left out; SourceFault if no others remain.
    """
    if labelled.lists_classes(signature):
        found: _Predicted | None = _listed(source, candidate, data, signature, batch)
    else:
        read = _ranking if data.labels is None else _prediction
        both = [[_answers(run, pool, signature, batch, read) for run in (source, candidate)] for pool in data.pools]
        found = _predicted(both, data, classes)
    if found is None:
        return None
    reference, named = found.source[found.asked], found.candidate[found.asked]
    right = reference if data.labels is None else np.concatenate(data.labels)[found.asked]
    agreement = TOP1_AGREEMENT if found.certain else LARGEST_AGREEMENT
    return Accuracy(
        measured=agreement if data.labels is None else TOP1_OF_LABELS,
        samples=len(named),
        classes=len(np.unique(reference)),
        source=float(np.mean(reference == right)),
        value=float(np.mean(named == right)),
        limit=limit,
    )


def of_labels(
    source: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, classes: int = 0
) -> tuple[Accuracy | None, tuple[str, ...]]:
    """Return the accuracy on labelled samples of a model whose numbers were compared, and notes for the user.

    ``batch`` and ``classes`` are those of ``measured``.
    """
    if data.labels is None:
        return None, ()
    reached = measured(source, candidate, data, signature, batch=batch, limit=1.0, classes=classes)
    if reached is None:
        return None, (UNUSED,)
    return reached, tuple(_doubts(reached, np.concatenate(data.labels), classes))


def _doubts(reached: Accuracy, labels: Array, classes: int) -> Iterator[str]:
    """Yield why the labels, or the preparation of the samples, may not be those of the training."""
    different = len(np.unique(labels))
    if reached.samples < ENOUGH:
        return
    if reached.classes == 1 and different > 1:
        yield (
            f"the source predicts the same class for all {reached.samples} samples, whose labels name {different}: "
            f"{PREPARED}"
        )
    elif not _beyond_chance(reached, 1 / max(2, classes, different, reached.classes)):
        yield (
            f"the source predicts {reached.source:.1%} of {reached.samples} labels, no better than guessing: {PREPARED}"
        )


def believable(reached: Accuracy) -> bool:
    """Whether the labels fit the source: there are ENOUGH, and it predicts them clearly better than by guessing.

    Guessing is among the classes that the source predicts. If the source is no better, the labels mean something else
    or are in a different order. A candidate that lost all of its accuracy would then lose almost nothing.
    """
    return reached.samples >= ENOUGH and _beyond_chance(reached, 1 / max(1, reached.classes))


def _beyond_chance(reached: Accuracy, chance: float) -> bool:
    """Whether the source is clearly better than by guessing right with this chance, in 0..1."""
    spread = math.sqrt(reached.samples * chance * (1 - chance))
    return (reached.source - chance) * reached.samples > CLEARLY * max(1.0, spread)


def _listed(source: Run, candidate: Run, data: Dataset, signature: Signature, batch: int) -> _Predicted:
    """Return the first classes of the lists that two models answer with."""
    known, found = (
        np.concatenate(
            [
                np.asarray(answer[CLASSES]).reshape(len(answer[CLASSES]), -1)[:, 0]
                for pool in data.pools
                for answer in answers(run, pool, signature, batch)
            ]
        )
        for run in (source, candidate)
    )
    return _Predicted(known, found, True, np.ones(len(known), bool))


def _predicted(both: Sequence[Sequence[Arrays]], data: Dataset, classes: int) -> _Predicted | None:
    """Return the classes that two models predict, from their answers to each pool; None if no output has any."""
    names = [name for name in (both[0][0] if both else ()) if all(name in own for own, _ in both)]
    pairs = {name: tuple(np.concatenate([each[run][name] for each in both]) for run in (0, 1)) for name in names}
    own = [] if data.labels is None else [pair for pair in pairs.values() if pair[0].shape[1] == 1]
    ranking = [name for name in names if pairs[name][0].shape[1] > 1]
    if data.classes or not ranking:  # without names of classes, any whole number could be one
        answered = next(filter(None, (_answered(pair, data.classes) for pair in own)), None)
        if answered:
            return answered
    certain = [name for name in ranking if pairs[name][0].shape[1] == classes]
    if ranking:
        name = next(iter((*certain, *ranking)))
        return _ranked(pairs[name], name, bool(certain))
    return next((_of_two(pair) for pair in own if np.issubdtype(pair[0].dtype, np.floating)), None)


def _answered(pair: Sequence[Array], classes: Sequence[str]) -> _Predicted | None:
    """Return the answers of an output of classes as numbers; None if the source answers something else."""
    known, found = (each.reshape(-1) for each in pair)
    if known.dtype.kind not in "iuO":
        return None
    places = {labelled.key(name): place for place, name in enumerate(classes)}

    def number(answer: object) -> int:
        if not classes:
            return int(answer) if isinstance(answer, int) and answer >= 0 else NO_CLASS
        return places.get(labelled.key(str(answer)), NO_CLASS)

    ours, theirs = (np.array([number(answer) for answer in each.tolist()], np.int64) for each in (known, found))
    if (ours == NO_CLASS).all():
        return None
    return _Predicted(ours, theirs, True, np.ones(len(ours), bool))


def _ranked(pair: Sequence[Array], name: str, certain: bool) -> _Predicted:
    known, found = pair
    asked = np.asarray(~np.isnan(known).any(axis=1))
    if not asked.any():
        raise SourceFault(
            f"the source model answers NaN in output {name!r} for all inputs that its accuracy is measured on",
            "Give inputs that it answers with --samples",
        )
    theirs = np.where(np.isnan(found).any(axis=1), NO_CLASS, found.argmax(axis=1))
    return _Predicted(known.argmax(axis=1), theirs, certain, asked)


def _of_two(pair: Sequence[Array]) -> _Predicted:
    """Return which of two classes a single number tells: 1 if a probability is above a half, or a score above zero."""
    known, found = (each.reshape(-1) for each in pair)
    finite = known[~np.isnan(known)]
    border = 0.5 if finite.size and finite.min() >= 0 and finite.max() <= 1 else 0.0
    theirs = np.where(np.isnan(found), NO_CLASS, found > border)
    return _Predicted((known > border).astype(np.int64), theirs.astype(np.int64), True, ~np.isnan(known))


def _ranking(answer: Array) -> "Array | None":
    """Return an answer that has several floats a sample; None for another."""
    several = answer.ndim == 2 and answer.shape[1] > 1 and np.issubdtype(answer.dtype, np.floating)
    return answer if several else None


def _prediction(answer: Array) -> "Array | None":
    """Return an answer that has several scores a sample, or one value; axes of one behind the rows don't count."""
    if not answer.size:
        return None
    flat = answer.reshape(len(answer), -1)
    line = flat.shape[1] in (1, *answer.shape[1:])
    return flat if line and (flat.shape[1] == 1 or labelled.is_score(flat.dtype.name)) else None


def _answers(
    run: Run, pool: Pool, signature: Signature, batch: int, read: Callable[[Array], "Array | None"]
) -> dict[str, Array]:
    """Return the answers to all rows, for the outputs that are read."""
    found: dict[str, list[Array]] = {}
    for batched in answers(run, pool, signature, batch):
        for name, answer in batched.items():
            own = read(np.asarray(answer))
            if own is not None:
                found.setdefault(name, []).append(own)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def answers(run: Run, pool: Pool, signature: Signature, batch: int) -> Iterator[Arrays]:
    """Yield a model's answers to a pool, ``batch`` rows at a time (0: one by one), with a leading axis of rows."""
    count = len(pool.families)
    if signature.batch_dim is None:
        for row in range(count):
            yield {name: np.asarray(answer)[np.newaxis] for name, answer in run(pool.whole(row)).items()}
        return
    size = max(1, batch)
    for start in range(0, count, size):
        yield run(pool.rows(range(start, min(start + size, count))))
