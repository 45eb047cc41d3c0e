"""Answers that rounding exchanges: the order of scores that are nearly equal, the class of a place between two.

They are compared as numbers are: what differs must be as close as the numbers beside it may differ. ``ranked`` and
``mapped`` say of which outputs that holds; their names are those of graphs after a model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from modelrepo.generator.specs.preparation import CLASS_MAP, CLASSES, COUNT, MARGIN, SCORES
from modelrepo.generator.specs.tensors import Array, Arrays

Limit = Callable[[str, Array], float]


def ranked(answers: Arrays) -> bool:
    """Whether answers are lists of classes, each with its score beside it, the best first."""
    scores, classes = answers.get(SCORES), answers.get(CLASSES)
    if scores is None or classes is None or scores.shape != classes.shape or not scores.ndim:
        return False
    floats = scores.dtype.kind == "f" and classes.dtype.kind in "iu"
    return bool(floats and scores.size and (np.diff(scores, axis=-1) <= 0).all())


def settled(wanted: Arrays, got: Arrays, limit: Limit, *, edge: bool) -> dict[str, Array]:
    """Return the answers to one sample with what is exchanged in the order of ``wanted``.

    Entries of a list change places if their scores are within the limit of those that they replace. With ``edge``, one
    that is as good as the last may be another one: it came just before. A place of a map may have another class if both
    models prefer theirs by less than the limit.
    """
    if any(name not in got or got[name].shape != array.shape for name, array in wanted.items()):
        return dict(got)
    if CLASS_MAP in wanted and MARGIN in wanted and wanted[MARGIN].shape == wanted[CLASS_MAP].shape:
        close = np.maximum(wanted[MARGIN], got[MARGIN]) <= limit(MARGIN, wanted[MARGIN])
        return {**got, CLASS_MAP: np.where(close, wanted[CLASS_MAP], got[CLASS_MAP])}
    if not ranked(wanted) or not ranked(got):
        return dict(got)
    allowed = limit(SCORES, wanted[SCORES])
    shape = wanted[SCORES].shape
    beside = [name for name, array in wanted.items() if array.shape[: len(shape)] == shape]
    changed = {**got, **{name: got[name].copy() for name in beside}}
    for place in np.ndindex(shape[:-1]):
        ours, theirs = ({name: each[name][place] for name in beside} for each in (wanted, got))
        for name, array in _ordered(ours, theirs, allowed, edge).items():
            changed[name][place] = array
    if COUNT in wanted and len(shape) == 1:
        changed[COUNT] = _counted(wanted, got, allowed)
    return changed


def _ordered(wanted: Arrays, got: Arrays, allowed: float, edge: bool) -> Arrays:
    """Return one list with its entries in the order of another, as far as their scores allow it."""
    scores, found = wanted[SCORES], got[SCORES]
    free = np.ones(len(scores), bool)
    order = np.full(len(scores), -1)
    for place in range(len(scores)):
        same = got[CLASSES] == wanted[CLASSES][place]
        fitting = np.flatnonzero(free & same & (np.abs(found - scores[place]) <= allowed))
        if fitting.size:
            order[place] = min(fitting, key=lambda at: (_apart(wanted, got, place, at), at))
            free[order[place]] = False
    others = np.flatnonzero(order < 0)
    order[others] = np.flatnonzero(free)
    turned = {name: array[order] for name, array in got.items()}
    if edge and others.size:
        close = (scores - scores[-1] <= allowed) & (np.abs(turned[SCORES] - scores) <= allowed)
        last = others[close[others]]
        for name in turned.keys() - {SCORES}:
            turned[name][last] = wanted[name][last]
    return turned


def _apart(wanted: Arrays, got: Arrays, place: int, at: Any) -> float:
    """Return how far the numbers of two entries are apart, as those of boxes; 0 if they have none but scores."""
    floats = [name for name, array in wanted.items() if name != SCORES and array.dtype.kind == "f"]
    return float(sum(np.abs(wanted[name][place] - got[name][at]).sum() for name in floats))


def _counted(wanted: Arrays, got: Arrays, allowed: float) -> Array:
    """Return the number of entries above a threshold; that of ``wanted`` if all between the two are close to it."""
    ends = sorted((int(wanted[COUNT].flat[0]), int(got[COUNT].flat[0])))
    between = np.concatenate([each[SCORES][ends[0] : ends[1]] for each in (wanted, got)])
    return wanted[COUNT] if not between.size or np.ptp(between) <= 2 * allowed else got[COUNT]
