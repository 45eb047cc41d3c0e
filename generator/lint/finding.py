"""Findings: what is wrong, where, what Triton does about it, and what to write instead."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "information"]


@dataclass(frozen=True, order=True)
class Place:
    """A place in a file, or a whole file or folder."""

    file: Path
    line: int = 0  # from 1; 0: all of it
    column: int = 0  # from 1; 0: the whole line

    def __str__(self) -> str:
        return ":".join([str(self.file), *(str(number) for number in (self.line, self.column) if number)])


@dataclass(frozen=True)
class Edit:
    """A change of a text that mends a problem: what lies between two places is replaced. Lines and columns from 1."""

    file: Path
    begins: tuple[int, int]  # line and column; (0, 0): the end of the file
    ends: tuple[int, int]  # behind the last replaced character; the same as ``begins``: nothing is replaced
    text: str


@dataclass(frozen=True)
class Problem:
    """What the check of a rule has found, before it is known for which releases it holds."""

    place: Place
    says: str  # what Triton does, in one sentence; its own words in quotes
    write: str  # what to write instead, in the imperative
    edits: tuple[Edit, ...] = ()  # that mend it mechanically, if anything does


@dataclass(frozen=True)
class Finding:
    """A problem, and the rule that it breaks."""

    code: str  # of the rule
    severity: Severity
    model: str  # the name of the model's folder; empty: the repository
    problem: Problem
    releases: tuple[str, ...] = ()  # those of the asked ones for which it holds; empty: all

    def __str__(self) -> str:
        return f"{self.problem.place}: {self.severity} {self.code}: {self.problem.says}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as `check --json` does: text, numbers, lists and None only."""
        place = self.problem.place
        return {
            "code": self.code,
            "severity": self.severity,
            "model": self.model,
            "file": str(place.file),
            "line": place.line or None,
            "column": place.column or None,
            "says": self.problem.says,
            "write": self.problem.write,
            "releases": list(self.releases),
            "fixable": bool(self.problem.edits),
        }
