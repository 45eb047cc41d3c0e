"""One model of the neighbourhood: how it is made, what it is asked, and what is to become of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.verification.declared import as_declared
from tests.mutation.proof import job_of, loaded, proved

PUBLISHED = "published"
# Two answers agree if they are as near as this share of the largest magnitude.
SHARE = 1e-3


@dataclass(frozen=True)
class Question:
    """Arrays by the names of the inputs, and the answers of the framework itself, in the order of the outputs."""

    arrays: Mapping[str, Any]
    answers: Sequence[Any]


@dataclass(frozen=True)
class Made:
    """A model that was made: what `generate --model` is given, and what it is asked."""

    reference: str
    questions: Sequence[Question]


@dataclass(frozen=True)
class Neighbour:
    """A row: ``make`` writes the files of a model into a folder; ``verdict`` is a part of the refusal, if it is one.

    ``options`` have the names of flags.
    """

    name: str
    make: Callable[[Path], Made]
    verdict: str = PUBLISHED
    options: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


def disagreement(made: Made, options: Mapping[str, Any], folder: Path) -> str:
    """Publish a model as `generate` does, and return the first answer that is wrong; empty if there is none.

    Raises what `generate` reports as an error if the model is refused.
    """
    job = job_of(made.reference, options)
    proven = proved(job, loaded(job), folder)
    served = as_declared(ONNX_FORM.open(proven.export.path), proven.export.signature)
    specs = {spec.name: spec for spec in proven.export.signature.inputs}
    for number, question in enumerate(made.questions):
        got = served({name: np.asarray(question.arrays[name]).astype(spec.dtype) for name, spec in specs.items()})
        for spec, answer in zip(proven.export.signature.outputs, question.answers, strict=True):
            found = _difference(np.asarray(answer), np.asarray(got[spec.name]))
            if found:
                return f"question {number}, {spec.name}: {found}"
    return ""


def _difference(wanted: Any, got: Any) -> str:
    """Return how two arrays differ: in their sizes, in numbers beyond rounding, or in anything else that they hold."""
    if wanted.size == got.size and wanted.ndim != got.ndim:  # single values of an estimator are served as a column
        wanted = wanted.reshape(got.shape)
    if wanted.shape != got.shape:
        return f"shape {got.shape} instead of {wanted.shape}"
    if wanted.dtype.kind == "f" and got.dtype.kind == "f":
        with np.errstate(over="ignore"):
            wanted, got = wanted.astype(got.dtype).astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(wanted)
        limit = SHARE * np.abs(wanted[finite]).max(initial=0)
        with np.errstate(invalid="ignore"):
            near = np.abs(wanted - got) <= limit
        equal = np.where(finite, near, (wanted == got) | (np.isnan(wanted) & np.isnan(got)))
    elif wanted.dtype.kind in "OSU":
        equal = np.asarray(_texts(wanted) == _texts(got))
    else:
        equal = np.asarray(wanted == got)
    if equal.all():
        return ""
    place = tuple(int(each[0]) for each in np.nonzero(np.atleast_1d(~equal)))
    pair = [np.atleast_1d(each)[place] for each in (got, wanted)]
    return f"{pair[0]!r} instead of {pair[1]!r} at {list(place)}, and {int((~equal).sum())} of {equal.size} in all"


def _texts(array: Any) -> Any:
    texts = [each.decode() if isinstance(each, bytes) else str(each) for each in array.ravel().tolist()]
    return np.array(texts, object).reshape(array.shape)
