"""What can go wrong, as one tree; every class carries the exit code of its kind and a hint for the next step.

ModelRepoError         1  unexpected
├── OptionError        2  an option, a configuration file or a template that can't be used
├── SourceError        3  the source model or its weights
├── ConversionError    4  conversion to ONNX or to what a backend serves
├── VerificationError  5  the converted model does not answer as its source does
│   └── InputRefused      the source itself does not answer an input
│       └── Unsteady      it does, and rounding decides what
├── RepositoryError    6  the model repository or its state folder
├── ServerError        7  a Triton server that can't be had, started, reached or asked
├── PerfError          8  a measurement that can't be made, or that finds a limit broken or an answer lost
└── DeferredError      9  a backend was deferred and that was not allowed
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class ModelRepoError(Exception):
    """An error meant for the user: one line that says what is wrong, and a hint that names the next step."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class OptionError(ModelRepoError):
    """An option, a key of ``modelrepo.toml``, a template or a config patch is unusable."""

    exit_code = 2


class SourceError(ModelRepoError):
    """The source model is unknown, or its weights can't be had or don't fit."""

    exit_code = 3


class ConversionError(ModelRepoError):
    """No exporter could turn the source into an ONNX model that the target release reads."""

    exit_code = 4


class VerificationError(ModelRepoError):
    """The converted model answers differently from its source; nothing is published."""

    exit_code = 5


class InputRefused(VerificationError):
    """The source model does not answer an input that it was asked; another input may do."""


def refused(arrays: Mapping[str, Any], reason: str) -> InputRefused:
    """Return the error that a source model fails on named inputs; their shapes are told, and ``reason``."""
    shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
    return InputRefused(f"the source model fails on {shapes}: {reason}")


class Unsteady(InputRefused):
    """Rounding decides what the source model answers an input: it may be asked, but compared with nothing."""

    def __init__(self, message: str, answer: dict[str, Any]) -> None:
        super().__init__(message)
        self.answer = answer


class RepositoryError(ModelRepoError):
    """The repository can't be written, or holds something that is not ours to replace."""

    exit_code = 6


class ServerError(ModelRepoError):
    """Triton can't be had or started here, refuses a model, can't be reached, or dies."""

    exit_code = 7


class PerfError(ModelRepoError):
    """perf_analyzer can't be had or fails, an SLO is broken, or an answer is lost or wrong."""

    exit_code = 8


class DeferredError(ModelRepoError):
    """``--strict`` was given and a backend could not be finished on this machine."""

    exit_code = 9


def first_line(error: object) -> str:
    """Return the first line that an error says, without its full stop; the name of its class if it says nothing."""
    lines = (line.strip().rstrip(".") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return a sentence that offers the known words nearest to ``word``, or the known words where none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word.lower(), words, n=count, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(words[:20])}"
