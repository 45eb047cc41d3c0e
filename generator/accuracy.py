"""What a lower precision or pruning costs a classifier: how many of its answers are still right."""

from collections.abc import Iterator

import numpy as np

from generator.datasets import Dataset
from generator.inputs import Pool
from generator.specs import Accuracy, Array, Arrays, Signature
from generator.verify import Run

LABELS, AGREEMENT = "top-1 of labels", "top-1 agreement"


def measured(
    source: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, limit: float
) -> Accuracy | None:
    """Compare the classes that both models name for ``data``, asked in batches of ``batch``: 0 for one by one.

    With labels, those are what is right, and without them the source's classes. ``limit`` is the drop, in 0..1, that
    is allowed. None for a model without an output of one number a class.
    """
    pairs = [
        (pool, labels, _classes(source, pool, signature, batch), _classes(candidate, pool, signature, batch))
        for pool, labels in data.parts()
    ]
    if not pairs or any(classes is None for *_, classes, _ in pairs):
        return None
    reference = np.concatenate([classes for *_, classes, _ in pairs])
    named = np.concatenate([classes for *_, classes in pairs])
    right = reference if data.labels is None else np.concatenate([labels for _, labels, *_ in pairs])
    return Accuracy(
        measured=AGREEMENT if data.labels is None else LABELS,
        samples=len(named),
        classes=len(np.unique(reference)),
        source=float(np.mean(reference == right)),
        value=float(np.mean(named == right)),
        limit=limit,
    )


def _classes(run: Run, pool: Pool, signature: Signature, batch: int) -> "Array | None":
    """Return the class of each row by the model's first output of one number a class; None without such an output."""
    classes: list[Array] = []
    for answers in _answers(run, pool, signature, batch):
        ranked = [answer for answer in answers.values() if _ranks(answer)]
        if not ranked:
            return None
        classes.append(ranked[0].argmax(axis=1))
    return np.concatenate(classes)


def _answers(run: Run, pool: Pool, signature: Signature, batch: int) -> Iterator[Arrays]:
    """Yield answers with a leading axis of rows."""
    count = len(pool.families)
    if signature.batch_dim is None:
        for row in range(count):
            whole = run({name: array[row, ...] for name, array in pool.arrays.items()})
            yield {name: np.asarray(answer)[np.newaxis] for name, answer in whole.items()}
        return
    size = max(1, batch)
    for start in range(0, count, size):
        yield run(pool.rows(range(start, min(start + size, count))))


def _ranks(answer: Array) -> bool:
    return answer.ndim == 2 and answer.shape[1] > 1 and bool(np.issubdtype(answer.dtype, np.floating))
