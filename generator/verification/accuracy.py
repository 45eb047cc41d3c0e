"""The accuracy that a lower precision or pruning costs a classifier: the share of its answers that are still right."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
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


def measured(
    source: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, limit: float, classes: int = 0
) -> Accuracy | None:
    """Compare the classes that both models predict for ``data``, run in batches of ``batch`` (0: one by one).

    An answer is right if it equals the label, or the source's answer for data without labels. The class is the largest
    element of the output with ``classes`` numbers a sample. If there is no such output, or the number of classes is
    unknown (0), it is that of the first output with several floats a sample; without labels, the result is then called
    LARGEST_AGREEMENT. ``limit`` is the drop that is allowed, in 0..1. Returns None for a model without an output of
    several floats a sample. Samples that the source answers with NaN are left out; SourceFault if no others remain.
    """
    both = [[_rankings(run, pool, signature, batch) for run in (source, candidate)] for pool in data.pools]
    name = _name([own for own, _ in both], classes)
    if name is None:
        return None
    known, found = (np.concatenate([each[run][name] for each in both]) for run in (0, 1))
    asked = ~np.isnan(known).any(axis=1)
    if not asked.any():
        raise SourceFault(
            f"the source model answers NaN in output {name!r} for all inputs that its accuracy is measured on",
            "Give inputs that it answers with --samples",
        )
    reference = known[asked].argmax(axis=1)
    named = np.where(np.isnan(found).any(axis=1), NO_CLASS, found.argmax(axis=1))[asked]
    right = reference if data.labels is None else np.concatenate(data.labels)[asked]
    agreement = TOP1_AGREEMENT if both[0][0][name].shape[1] == classes else LARGEST_AGREEMENT
    return Accuracy(
        measured=agreement if data.labels is None else TOP1_OF_LABELS,
        samples=len(named),
        classes=len(np.unique(reference)),
        source=float(np.mean(reference == right)),
        value=float(np.mean(named == right)),
        limit=limit,
    )


def believable(reached: Accuracy) -> bool:
    """Whether the labels fit the source: there are ENOUGH, and it predicts them clearly better than by guessing.

    Guessing is among the classes that the source predicts. If the source is no better, the labels mean something else
    or are in a different order. A candidate that lost all of its accuracy would then lose almost nothing.
    """
    chance = 1 / max(1, reached.classes)
    spread = math.sqrt(reached.samples * chance * (1 - chance))
    more = (reached.source - chance) * reached.samples
    return reached.samples >= ENOUGH and more > CLEARLY * max(1.0, spread)


def _name(rankings: Sequence[Arrays], classes: int) -> str | None:
    """Return the output that ranks classes: the one with as many numbers as classes, otherwise the first."""
    names = [name for name in (rankings[0] if rankings else ()) if all(name in each for each in rankings)]
    certain = [name for name in names if rankings[0][name].shape[1] == classes]
    return next(iter((*certain, *names)), None)


def _rankings(run: Run, pool: Pool, signature: Signature, batch: int) -> Arrays:
    """Return the answers to all rows, for outputs with several floats a sample."""
    found: dict[str, list[Array]] = {}
    for batched in answers(run, pool, signature, batch):
        for name, answer in batched.items():
            if answer.ndim == 2 and answer.shape[1] > 1 and np.issubdtype(answer.dtype, np.floating):
                found.setdefault(name, []).append(answer)
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
