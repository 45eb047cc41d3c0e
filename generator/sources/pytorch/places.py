"""Lines of code that are the model's own: not torch's, not an exporter's, not ours."""

import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from modelrepo import HOME

# The libraries with code that is not the model's, by the first folder below site-packages: their lines explain nothing.
LIBRARIES = {"torch", "functorch", "onnxscript", "onnx_ir", "onnx", "onnxruntime", "sympy", HOME.name}
SITE_PACKAGES = "site-packages"
# The modules that watch a model while it runs.
OBSERVERS = ("reads", "branches", "assumptions", "ran")


class Place(NamedTuple):
    """A line of a file, counted from 1."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{readable(self.filename)}:{self.line}"


@cache
def is_models(filename: str) -> bool:
    """Whether a line of this file may be the model's own: not torch's, not an exporter's, not ours."""
    path = Path(filename)
    if SITE_PACKAGES in path.parts[:-1]:
        return path.parts[_below(path.parts)] not in LIBRARIES
    if filename.startswith("<") or path.is_relative_to(sysconfig.get_path("stdlib")):
        return False
    return not path.is_relative_to(HOME)


@cache
def is_installed(filename: str) -> bool:
    """Whether a file belongs to an installed package, so that the user can't mend it."""
    return SITE_PACKAGES in Path(filename).parts[:-1]


def here() -> Place | None:
    """Return the innermost line of the model's code that is running; None if a line of ours is further in.

    The module that asks, and those of the observers it was called by, don't count.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_observer(frame.f_code.co_filename):
        frame = frame.f_back
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(HOME):
        if is_models(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def stack() -> Iterator[Place]:
    """Yield the lines that are running, the innermost first, of any library but the observers, up to one of ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_observer(frame.f_code.co_filename):
        frame = frame.f_back
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(HOME):
        yield Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back


@cache
def is_observer(filename: str) -> bool:
    """Whether a file is one of our modules that watch a model while it runs."""
    path = Path(filename)
    return path.stem in OBSERVERS and path.parent.name in ("pytorch", "torch") and not is_installed(filename)


def readable(filename: str) -> str:
    """Return a file's path as messages name it: below the current folder or site-packages, if it lies there."""
    path = Path(filename)
    if SITE_PACKAGES in path.parts[:-1]:
        return Path(*path.parts[_below(path.parts) :]).as_posix()
    folder = Path.cwd()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else filename


def _below(parts: Sequence[str]) -> int:
    """Return the index of the first folder below site-packages."""
    return len(parts) - parts[::-1].index(SITE_PACKAGES)
