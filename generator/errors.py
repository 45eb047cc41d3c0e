"""All errors, as one tree. Each class has an exit code, each error a hint for the next step.

ModelRepoError         1  unexpected
├── OptionError        2  an unusable option, configuration file or template
├── SourceError        3  the source model or its weights
├── ConversionError    4  conversion to ONNX or to what a backend serves
├── VerificationError  5  the converted model's answers differ from its source's
│   └── InputRefused      the source itself fails on an input
│       └── Unsteady      the source's answer depends on rounding
├── RepositoryError    6  the model repository or its state folder
├── ServerError        7  a Triton server that can't be downloaded, started, reached or queried
├── PerfError          8  a measurement that failed, or that found a broken limit or a lost answer
└── DeferredError      9  a backend was deferred, against --strict
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

# Inputs of so many elements are shown in a message, up to so many characters.
FEW, SHOWN = 12, 60


class ModelRepoError(Exception):
    """An error for the user: a message of one line, and a hint that names the next step."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        message = without_escapes(message)
        super().__init__(message)
        self.message = message
        self.hint = without_escapes(hint)

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class OptionError(ModelRepoError):
    """An option, a key of ``modelrepo.toml``, a template or a config patch is unusable."""

    exit_code = 2


class SourceError(ModelRepoError):
    """The source model is unknown, or its weights are missing or don't fit."""

    exit_code = 3


class ConversionError(ModelRepoError):
    """The source can't be converted into a model that the target release reads."""

    exit_code = 4


class VerificationError(ModelRepoError):
    """The converted model answers differently from its source; nothing is published."""

    exit_code = 5


class InputRefused(VerificationError):
    """The source model fails on an input; it may accept other inputs."""


def refused(arrays: Mapping[str, Any], reason: str) -> InputRefused:
    """Return the error that a source model fails on named inputs, with the ``reason``."""
    return InputRefused(f"the source model fails on {shown(arrays)}: {reason}")


def shown(arrays: Mapping[str, Any]) -> str:
    """Return the shapes of named inputs, and the values of those that hold a few whole numbers or texts."""
    return ", ".join(f"{name}{_values(array)}" for name, array in arrays.items())


def _values(array: Any) -> str:
    few = array.dtype.kind in "iubOU" and 0 < array.size <= FEW
    text = str(array.tolist()) if few else ""
    return f" = {text}" if few and len(text) <= SHOWN else str(list(array.shape))


class Unsteady(InputRefused):
    """The source model's answer to an input depends on rounding, so nothing can be compared with it."""

    def __init__(self, message: str, answer: dict[str, Any]) -> None:
        super().__init__(message)
        self.answer = answer


class RepositoryError(ModelRepoError):
    """The repository can't be written, or holds something that is not ours to replace."""

    exit_code = 6


class ServerError(ModelRepoError):
    """Triton can't be downloaded, started or reached, refuses a model, or dies."""

    exit_code = 7


class PerfError(ModelRepoError):
    """perf_analyzer is missing or fails, an SLO is broken, or an answer is lost or wrong."""

    exit_code = 8


class DeferredError(ModelRepoError):
    """``--strict`` was given and a backend could not be finished on this machine."""

    exit_code = 9


# What colours a text in a terminal, moves its cursor or sets its title; and other control characters but white space.
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])?|[\x00-\x08\x0e-\x1f\x7f\x80-\x9f]"
)


def without_escapes(text: str) -> str:
    """Return a text of a library or of the user's code without what only a terminal understands."""
    return ESCAPES.sub("", text)


def first_line(error: object) -> str:
    """Return the first line of an error, or of a text, without its full stop.

    An error without text is named by its class; an empty text is "no reason".
    """
    lines = (line.strip().rstrip(".") for line in without_escapes(str(error)).splitlines())
    silent = type(error).__name__ if isinstance(error, BaseException) else "no reason"
    return next((line for line in lines if line), silent)


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return a sentence with the known words nearest to ``word``, or with all known words if none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word.lower(), words, n=count, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(words[:20])}"
