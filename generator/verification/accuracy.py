"""What a lower precision or pruning costs a classifier: how many of its answers are still right."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.verify import Run, SourceFault

TOP1_OF_LABELS, TOP1_AGREEMENT = "top-1 of labels", "top-1 agreement"
# What is measured where nothing says that the model is a classifier: it may as well answer with embeddings.
LARGEST_AGREEMENT = "agreement in the largest element"
# How many inputs it is measured on where the user gives none: one that differs is less than 1%.
GENERATED = 128
# Fewer samples say too little to be measured on.
ENOUGH = 32
# So many standard deviations more right answers than guessing gives are no chance.
CLEARLY = 3
# What an answer of NaN names: no class.
NO_CLASS = -1


def measured(
    source: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, limit: float, classes: int = 0
) -> Accuracy | None:
    """Compare what both models rank highest for ``data``, asked in batches of ``batch``: 0 for one by one.

    With labels, those are what is right, and without them the source's answers. An output of ``classes`` numbers a
    sample ranks them; without such a one, or where their number is not known (0), the first output of several floats a
    sample does: that may be a classifier's, and where there are no labels either the outcome is LARGEST_AGREEMENT.
    ``limit`` is the drop, in 0..1, that is allowed. None for a model without an output of several floats a sample.
    Samples that the source answers with NaN are left out: SourceFault where that is all of them.
    """
    both = [[_rankings(run, pool, signature, batch) for run in (source, candidate)] for pool in data.pools]
    name = _name([own for own, _ in both], classes)
    if name is None:
        return None
    known, found = (np.concatenate([each[run][name] for each in both]) for run in (0, 1))
    asked = ~np.isnan(known).any(axis=1)
    if not asked.any():
        raise SourceFault(
            f"the source model answers NaN in output {name!r} to all that its accuracy is measured on",
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
    """Tell whether labels say what is right: ENOUGH of them, and the source meets them more often than by guessing.

    It is taken to guess among the classes that it names. Where it does no better, labels are of something else or in
    another order, and a candidate that loses all of its accuracy would lose next to nothing.
    """
    chance = 1 / max(1, reached.classes)
    spread = math.sqrt(reached.samples * chance * (1 - chance))
    more = (reached.source - chance) * reached.samples
    return reached.samples >= ENOUGH and more > CLEARLY * max(1.0, spread)


def _name(rankings: Sequence[Arrays], classes: int) -> str | None:
    """Return the output that ranks classes: one of so many numbers if there is one, otherwise the first."""
    names = [name for name in (rankings[0] if rankings else ()) if all(name in each for each in rankings)]
    certain = [name for name in names if rankings[0][name].shape[1] == classes]
    return next(iter((*certain, *names)), None)


def _rankings(run: Run, pool: Pool, signature: Signature, batch: int) -> Arrays:
    """Return the answers to all rows of those outputs that give several floats a sample."""
    found: dict[str, list[Array]] = {}
    for answers in _answers(run, pool, signature, batch):
        for name, answer in answers.items():
            if answer.ndim == 2 and answer.shape[1] > 1 and np.issubdtype(answer.dtype, np.floating):
                found.setdefault(name, []).append(answer)
    return {name: np.concatenate(answers) for name, answers in found.items()}


def _answers(run: Run, pool: Pool, signature: Signature, batch: int) -> Iterator[Arrays]:
    """Yield answers with a leading axis of rows."""
    count = len(pool.families)
    if signature.batch_dim is None:
        for row in range(count):
            yield {name: np.asarray(answer)[np.newaxis] for name, answer in run(pool.whole(row)).items()}
        return
    size = max(1, batch)
    for start in range(0, count, size):
        yield run(pool.rows(range(start, min(start + size, count))))
