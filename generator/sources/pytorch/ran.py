"""What ran of a model's own Python: lines, and the sides of branches on tensors' values."""

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from modelrepo.generator.sources.pytorch.places import Place, here
from modelrepo.generator.sources.pytorch.reads import Read, reading


@dataclass(frozen=True)
class Branch:
    """A line that makes true or false of a tensor, and the sides that were seen."""

    place: Place
    sides: frozenset[bool]


@dataclass(frozen=True)
class Ran:
    """What ran of some files: the lines, and the branches on tensors.

    Only functions that ran at all are counted: others may not belong to the model. A statement of several lines counts
    as its first.
    """

    lines: frozenset[Place] = frozenset()
    executable: frozenset[Place] = frozenset()
    branches: tuple[Branch, ...] = ()

    @property
    def missed(self) -> tuple[Place, ...]:
        """The executable lines that did not run, in order."""
        return tuple(sorted(self.executable - self.lines))

    def __or__(self, other: "Ran") -> "Ran":
        """Return what ran in either."""
        sides: dict[Place, frozenset[bool]] = {}
        for branch in (*self.branches, *other.branches):
            sides[branch.place] = sides.get(branch.place, frozenset()) | branch.sides
        branches = tuple(Branch(place, sides[place]) for place in sorted(sides))
        return Ran(self.lines | other.lines, self.executable | other.executable, branches)


def watcher(files: Sequence[Path]) -> Callable[[Callable[[], Any]], Ran]:
    """Return a function that calls another one, and returns what ran of these files meanwhile, in this thread.

    An error of the call is raised on; what ran until then is lost.
    """
    watched = {str(file) for file in files}

    def watch(call: Callable[[], Any]) -> Ran:
        lines: set[Place] = set()
        codes: set[CodeType] = set()
        sides: dict[Place, set[bool]] = {}

        def notice(read: Read) -> None:
            place = here() if isinstance(read.answer, bool) else None
            if place and place.filename in watched:
                sides.setdefault(place, set()).add(read.answer)

        def each_line(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add(Place(frame.f_code.co_filename, frame.f_lineno))
            return each_line

        def each_call(frame: FrameType, event: str, argument: Any) -> Any:
            if frame.f_code.co_filename not in watched:
                return None
            codes.add(frame.f_code)
            return each_line

        before = sys.gettrace()
        sys.settrace(each_call)
        try:
            with reading(notice):
                call()
        finally:
            sys.settrace(before)
        executable = frozenset(place for code in codes for place in _executable(code, code.co_filename))
        branches = tuple(Branch(place, frozenset(sides[place])) for place in sorted(sides))
        return Ran(frozenset(lines) & executable, executable, branches)

    return watch


@cache
def _executable(code: CodeType, filename: str) -> frozenset[Place]:
    """Return the lines of a function that Python runs and that a statement of it begins at.

    The same code in two files is equal, so the file's name belongs to the key of the cache.
    """
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return frozenset(Place(filename, line) for line in lines & _statements(filename))


@cache
def _statements(filename: str) -> frozenset[int]:
    """Return the lines that the statements of a file's functions begin at; docstrings and definitions are none."""
    tree = ast.parse(Path(filename).read_bytes())
    return frozenset(
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
