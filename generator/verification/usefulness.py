"""What a coarse precision costs a language model in its use: directions of embeddings, and classes of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from modelrepo.generator.specs.findings import COSINE, Accuracy
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.verification.accuracy import NO_CLASS, TOP1_AGREEMENT, answers
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.verify import Run

# The largest 1 - cosine between an embedding and the source's own of the same text. Dynamic INT8 of a trained MiniLM
# (6 layers, 384 numbers) turned those of texts by 0.006 on average and by 0.013 at most; those of different texts are
# 0.85 apart.
MOST_TURNED = 0.05
# An embedding may turn by no more than this share of the usual distance between different texts: where all texts are
# close together, a small turn already exchanges them.
SHARE_OF_TEXTS = 0.1
# How much longer or shorter an embedding may become, as a share: INT8's limit for numbers. Dot products depend on it.
MOST_STRETCHED = 0.25
# If the source names one class for more than this share, a model that always names it would agree as well.
ONE_CLASS = 0.9
# Distances are taken to texts this many places further on.
APART = (1, 7, 31)


@dataclass(frozen=True)
class Answers:
    """The answers of a source and a candidate to one text: (size,) or (tokens, size), without padding."""

    source: Array
    candidate: Array


def reached(
    source: SourceModel, run: Run, candidate: Run, data: Dataset, signature: Signature, *, batch: int, limit: float
) -> tuple[Accuracy, ...] | None:
    """Return what each output keeps of its use, on data without labels; None if some output has no such use.

    ``run`` answers as the source. Embeddings keep their direction: the cosine to the source's, of the worst text.
    Scores keep their largest class, and may lose ``limit``, in 0..1.
    """
    collected = _collected(run, candidate, data, signature, batch)
    if not collected or collected.keys() - {*source.embeddings, *source.scores}:
        return None
    found = [
        _direction(name, each) if name in source.embeddings else _classes(each, limit)
        for name, each in collected.items()
    ]
    kept = tuple(each for each in found if each is not None)
    return kept if len(kept) == len(found) else None


def _collected(
    run: Run, candidate: Run, data: Dataset, signature: Signature, batch: int
) -> Mapping[str, Sequence[Answers]]:
    mask = next((spec.name for spec in signature.inputs if spec.domain.mask), "")
    found: dict[str, list[Answers]] = {}
    for pool in data.pools:
        both = [_joined(list(answers(each, pool, signature, batch))) for each in (run, candidate)]
        for name, wanted in both[0].items():
            for row, (one, other) in enumerate(zip(wanted, both[1][name], strict=True)):
                kept = _of_text(pool.arrays[mask][row] if mask in pool.arrays else None, one)
                found.setdefault(name, []).append(Answers(one[kept], other[kept]))
    return found


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _of_text(mask: Any, answer: Array) -> Any:
    """Return the places of an answer's tokens that are not padding; all if it has no tokens."""
    fits = mask is not None and answer.ndim > 1 and answer.shape[: mask.ndim] == mask.shape
    return mask.astype(bool) if mask is not None and fits else ...


def _direction(name: str, each: Sequence[Answers]) -> Accuracy | None:
    """Return the worst text's cosine; 0 for a text whose embedding has another length. None for single numbers."""
    if each[0].source.shape[-1] < 2:
        return None
    cosines = np.array([np.mean(_cosines(one.source, one.candidate)) for one in each])
    cosines[[_is_stretched(one) for one in each]] = 0.0
    return Accuracy(
        measured=f"{COSINE} of {name}",
        samples=len(each),
        classes=len(each),
        source=1.0,
        value=float(cosines.min()),
        limit=min(MOST_TURNED, SHARE_OF_TEXTS * _usual_distance([one.source for one in each])),
    )


def _cosines(one: Array, other: Array) -> Array:
    """Return the cosine of each pair of vectors on the last axis; 1 for two of zeros, and 0 for one."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    sizes = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    products = (one * other).sum(axis=-1)
    same = (one == other).all(axis=-1)
    return np.asarray(np.where(same, 1.0, np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)))


def _is_stretched(each: Answers) -> bool:
    before, after = (float(np.linalg.norm(vectors.astype(np.float64))) for vectors in (each.source, each.candidate))
    return abs(after - before) > MOST_STRETCHED * before


def _usual_distance(vectors: Sequence[Array]) -> float:
    """Return the median of 1 - cosine between different texts, or their tokens at the same place."""
    distances = []
    for apart in APART:
        for number, one in enumerate(vectors):
            other = vectors[(number + apart) % len(vectors)]
            if other is not one:
                both = [each.reshape(-1, each.shape[-1]) for each in (one, other)]
                tokens = min(map(len, both))
                distances.append(float(np.mean(1 - _cosines(both[0][:tokens], both[1][:tokens]))))
    return float(np.median(distances)) if distances else 0.0


def _classes(each: Sequence[Answers], limit: float) -> Accuracy | None:
    """Return the agreement in the largest score, of each token if each has scores; None if one class is nearly all."""
    wanted, got = (
        np.concatenate([_named(vectors) for vectors in side]) for side in zip(*map(_pair, each), strict=True)
    )
    counts = np.unique(wanted, return_counts=True)[1]
    if counts.max() > ONE_CLASS * len(wanted):
        return None
    return Accuracy(TOP1_AGREEMENT, len(wanted), len(counts), 1.0, float(np.mean(wanted == got)), limit)


def _pair(each: Answers) -> tuple[Array, Array]:
    return each.source, each.candidate


def _named(scores: Array) -> Array:
    """Return the class of each row of scores; NO_CLASS for one with NaN."""
    rows = scores.reshape(-1, scores.shape[-1])
    return np.where(np.isnan(rows).any(axis=1), NO_CLASS, rows.argmax(axis=1))


def worst(found: Sequence[Accuracy]) -> Accuracy:
    """Return the one that lost most of what it may lose."""
    return reduce(lambda one, other: other if _share(other) > _share(one) else one, found)


def _share(found: Accuracy) -> float:
    return found.drop / found.limit if found.limit else float(np.sign(found.drop)) * float("inf") if found.drop else 0.0
