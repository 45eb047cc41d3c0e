"""The classes of labelled samples: labels as users write them, and the classes of the model that they mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import numpy as np

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.specs.preparation import CLASSES, SCORES
from modelrepo.generator.specs.tensors import Array, Signature

# The names that data sets usually give their labels; the first is ours.
NAMES = ("labels", "label", "y", "y_test", "y_val", "y_train", "target", "targets", "arr_1")
NAMED_BY = "--labels FILE gives them names"
ONE_NUMBER = "the model answers one number a sample, which tells the classes 0 and 1 alone"


def labels_among(arrays: Iterable[str], inputs: Sequence[str], column: str = "") -> str:
    """Return the array that holds the labels: ``column`` if it is there, else the one that its name tells.

    Empty if none or several may be.
    """
    names = list(arrays)
    if column in names:
        return column
    likely = [name for name in names if name.lower() in NAMES and name not in inputs]
    if NAMES[0] in likely:
        return NAMES[0]
    return likely[0] if len(likely) == 1 and len(names) > 1 else ""


class Unusable(Exception):
    """Labels that can't be used, which is no reason to refuse the samples."""


@dataclass(frozen=True)
class Classes:
    """The classes of a model, as far as they are known."""

    names: tuple[str, ...] = ()  # in order
    own: tuple[str, ...] = ()  # as the source itself calls them, if the user names them differently
    count: int | None = None  # None: unknown
    ranked: bool = False  # an output has a score for each class
    single: bool = False  # one number a sample stands for two classes, or is a value that is no class
    answers: str = ""  # the type of an output that answers a class itself; empty: there is none

    @property
    def called(self) -> tuple[str, ...]:
        """The classes as an output that answers them calls them."""
        return self.own or self.names


def classes_of(signature: Signature, names: Sequence[str] = (), own: Sequence[str] = ()) -> Classes:
    """Return the classes of a model; their number is that of the names, or of the scores of its first such output."""
    lead = 0 if signature.batch_dim is None else 1
    if lists_classes(signature):
        return Classes(tuple(names), tuple(own), len(names) or len(own) or None, ranked=True)  # the best ones alone
    inner = [(spec.dtype, [dim for dim in spec.shape[lead:] if dim != 1]) for spec in signature.outputs]
    scores = [dims[0] for dtype, dims in inner if is_score(dtype) and len(dims) == 1]
    answers = next((dtype for dtype, dims in inner if dtype.startswith(("int", "object")) and not dims), "")
    single = not scores and not answers and any(dtype.startswith("float") and not dims for dtype, dims in inner)
    known = next((dim for dim in scores[:1] if isinstance(dim, int)), 2 if single else None)
    return Classes(tuple(names), tuple(own), len(names) or known, bool(scores), single, answers)


def lists_classes(signature: Signature) -> bool:
    """Whether a model answers each sample with a list of its best classes, and the score of each."""
    shapes = {spec.name: spec.shape for spec in signature.outputs}
    return (
        SCORES in shapes
        and shapes[SCORES] == shapes.get(CLASSES)
        and len(shapes[SCORES]) == 2 - (signature.batch_dim is None)
    )


def is_score(dtype: str) -> bool:
    """Whether scores may have a type, by numpy's name: those of a quantized model are of 8 bits."""
    return dtype.startswith("float") or dtype in ("int8", "uint8")


def one_each(found: Array, count: int, classes: Classes, where: str) -> Array:
    """Return a label for each of ``count`` samples: whole numbers, or texts.

    A column counts as a list, and a row with a single 1 as the number of its place. ``where`` names the array in
    messages. Raises Unusable if the model predicts no classes, and OptionError if the array holds something else.
    """
    if not (classes.ranked or classes.single or classes.answers):
        raise Unusable("no output has a class, or a score for each, for a sample")
    found = np.atleast_1d(found)
    if found.dtype.kind in "SO":
        found = np.array([each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in found])
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2 and len(found) == count and found.shape[1] == (classes.count or found.shape[1]):
        found = _places_of_ones(found)
    if found.shape != (count,):
        raise OptionError(f"{where} is {found.dtype}{list(found.shape)}: expected {count} labels, one per sample")
    if found.dtype.kind == "U":
        return found
    if found.dtype.kind == "f" and (found != np.round(found)).any():  # NaN differs from itself
        _refuse_fraction(found[found != np.round(found)][0], classes, where)
    return found.astype(np.int64)


def _refuse_fraction(value: float, classes: Classes, where: str) -> NoReturn:
    if np.isnan(value):
        raise OptionError(f"{where} contains NaN", "Leave out the samples without a label")
    if classes.single:
        raise Unusable(ONE_NUMBER)
    raise OptionError(f"{where} contains {value:g}: expected the number of a class from 0 on, or its name")


def _places_of_ones(found: Array) -> Array:
    if found.dtype.kind == "U" or not np.isin(found, (0, 1)).all():
        raise Unusable("they are values, and not classes")
    if not (found.sum(axis=1) == 1).all():
        raise Unusable("some samples have several classes, or none")
    return np.asarray(found.argmax(axis=1))


def numbered(labels: Array, classes: Classes, where: str) -> tuple[Array, tuple[str, ...]]:
    """Return labels as the numbers of classes, int64 from 0 on, and the classes as an output calls that answers them.

    A label is a class as the source itself calls it, or else its name, or else its number from 0 on. The classes of a
    model that names none, but answers one for each sample, are those of the labels. Raises Unusable if nothing says
    what the labels mean, and OptionError if they are not classes of the model.
    """
    values, places = np.unique(labels, return_inverse=True)
    if classes.single and not (values.dtype.kind == "i" and set(values.tolist()) <= {0, 1}):
        raise Unusable(ONE_NUMBER)
    for names in filter(None, (classes.own, classes.names)):
        known = [named(str(value), names, where) for value in values.tolist()]
        if None not in known:
            return np.asarray(known, np.int64)[places], classes.called
    texts, high = values.dtype.kind == "U", classes.count
    beyond = texts or values.min() < 0 or (high is not None and values.max() >= high)
    if beyond and not classes.called and texts == (classes.answers == "object") and classes.answers:
        return places.astype(np.int64), tuple(map(str, values.tolist()))
    if texts and not all(text.isdecimal() for text in values.tolist()):
        raise _unknown(values.tolist(), classes, where)
    return _in_range(values.astype(np.int64), classes, where)[places], classes.called


def named(text: str, names: Sequence[str], where: str) -> int | None:
    """Return the place of a name: the same, or else the same but for case and underscores; None if there is none.

    Numbers are equal by value. Raises OptionError if two classes have the name.
    """
    same = [place for place, name in enumerate(names) if name == text]
    found = same or [place for place, name in enumerate(names) if key(name) == key(text)]
    if len(found) > 1:
        raise OptionError(
            f"{where}: the classes {' and '.join(map(str, found))} are both named {names[found[0]]!r}",
            "Name it by the index of its class",
        )
    return found[0] if found else None


@lru_cache(maxsize=1 << 16)
def key(label: str) -> str:
    """Return a text that is equal for equal classes, such as "3" and "3.0"; "True" is 1, as in an int64 output."""
    text = plain(label)
    if text in ("true", "false"):
        return str(int(text == "true"))
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def plain(label: str) -> str:
    """Return a name without the differences that a folder's name may have."""
    return label.replace("_", " ").strip().casefold()


def _unknown(values: Iterable[str], classes: Classes, where: str) -> Exception:
    """Return why texts are not classes of the model."""
    names = (*classes.names, *classes.own)
    if not names:
        return Unusable("they are texts, and the model names no classes: --labels FILE names them")
    wrong = next(each for each in values if named(each, classes.names or names, where) is None)
    if not wrong.strip():
        return OptionError(f"{where} is missing for some samples", "Leave out the samples without a label")
    if all(name.isdecimal() for name in names) and not key(wrong).lstrip("-").replace(".", "").isdecimal():
        return OptionError(f"{where} contains {wrong!r}, and the model's classes are numbers", NAMED_BY)
    return OptionError(f"{where} contains {wrong!r}, which is not a class of the model", nearest(wrong, names))


def _in_range(values: Array, classes: Classes, where: str) -> Array:
    low, high = int(values.min()), int(values.max())
    if low >= 0 and (classes.count is None or high < classes.count):
        return values
    counted = f": it has {classes.count}, counted from 0" if classes.count is not None else ""
    from_one = low == 1 and high == classes.count
    raise OptionError(
        f"{where} contains {low if low < 0 else high}, which is not a class of the model{counted}",
        "The labels seem to be counted from 1: subtract 1" if from_one else "",
    )
