"""Findings as text, like a compiler's: the place, what Triton does, the line with a caret, and what to write."""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from modelrepo.generator.errors import without_escapes
from modelrepo.generator.lint.finding import Finding, Place

COLOURS = {"error": "red", "warning": "yellow", "information": "cyan"}
# Characters of an offending line that are shown.
SHOWN = 96
# Characters that let a terminal show what follows from right to left (Unicode's bidirectional formatting).
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Columns before the line: its number and a bar; and those of the dots at both of its ends.
AROUND, DOTS = 8, 4
# On a narrower terminal lines are as long as on this one.
NARROWEST = 40
# More of a file is not read for its lines.
MOST_BYTES = 4 << 20


class Lines:
    """The lines of the file that was asked for last."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._lines: list[str] = []

    def at(self, place: Place) -> str:
        """Return the line of a place; empty if it has none, or if the file can't be read."""
        if not place.line:
            return ""
        if place.file != self._file:
            try:
                with place.file.open("rb") as file:
                    text = file.read(MOST_BYTES).decode("utf-8", errors="surrogateescape")
            except OSError:
                text = ""
            self._file, self._lines = place.file, text.split("\n")
        return self._lines[place.line - 1].rstrip("\r") if place.line <= len(self._lines) else ""


def printable(text: str) -> str:
    """Return a text that every terminal prints: without escapes, and with a mark for bytes that are not UTF-8."""
    return without_escapes(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def one_line(text: str) -> str:
    """Return a printable text as one line, in which nothing turns the direction of what follows."""
    return " ".join(TURNING.sub("\N{REPLACEMENT CHARACTER}", printable(text)).split())


def width_of_terminal() -> int | None:
    """Return the columns of the terminal that stdout is; None if it is none: programs want a message in one line."""
    return max(shutil.get_terminal_size().columns, NARROWEST) if sys.stdout.isatty() else None


def of_text(finding: Finding, lines: Lines, width: int | None = None) -> Iterator[str]:
    """Yield the lines of a finding; those of more than ``width`` columns go on in the next line."""
    place, colour = finding.problem.place, COLOURS[finding.severity]
    kind = f"{finding.severity} {finding.code}:"
    only = f" (only {', '.join(finding.releases)})" if finding.releases else ""
    where = f"{one_line(str(place))}:"
    first, *rest = _wrapped([where, kind, *one_line(finding.problem.says + only).split(" ")], width, "    ")
    styled = click.style(where, bold=True)
    marked = click.style(kind, fg=colour, bold=True)
    for line in (first.replace(where, styled, 1), *rest):
        yield line.replace(kind, marked, 1) if kind else line
        kind = kind if kind not in line else ""
    line = lines.at(place)
    if line.strip():
        yield from _marked(line, place, colour, SHOWN if width is None else min(SHOWN, width - AROUND - DOTS))
    bar = click.style("=", fg="blue")
    first, *rest = _wrapped(["  =", *one_line(finding.problem.write).split(" ")], width, "    ")
    yield from (first.replace("=", bar, 1), *rest)


def _wrapped(words: Iterable[str], width: int | None, indent: str) -> list[str]:
    """Return words as lines of at most ``width`` columns, if none of them is longer; those after the first indented."""
    from rich.cells import cell_len

    if width is None:
        return [" ".join(words)]
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{indent}{word}" if lines else word)
    return lines


def _marked(line: str, place: Place, colour: str, most: int) -> Iterator[str]:
    """Yield a line of the file, or its part around the place, and a caret below the place."""
    from rich.cells import cell_len

    column = max(place.column, 1)
    start = 0 if column <= most * 3 // 4 else column - most // 2
    shown = [_one_cell(character) for character in line[start : start + most]]
    while cell_len("".join(shown)) > most:  # some are two columns wide
        shown.pop()
    before = cell_len("".join(shown[: column - 1 - start]))
    dots = "… " if start else ""
    bar = click.style("|", fg="blue")
    number = f"{place.line:>5}"
    yield f"{number} {bar} {dots}{''.join(shown).rstrip()}{' …' if len(line) > start + len(shown) else ''}"
    if place.column:
        yield f"{' ' * len(number)} {bar} {' ' * (len(dots) + before)}{click.style('^', fg=colour, bold=True)}"


def _one_cell(character: str) -> str:
    """Return a character, or what stands for one that moves the cursor or can't be printed."""
    if character == "\t":
        return " "
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def summary(findings: Sequence[Finding], models: int, releases: Sequence[str], hidden: int = 0) -> str:
    """Return how many findings of each severity there are, and how many notes are not shown, as a sentence."""
    counts = Counter[str](each.severity for each in findings)
    units = {"error": "error", "warning": "warning", "information": "note"}
    told = [f"{counts[kind]} {unit}{'s' * (counts[kind] != 1)}" for kind, unit in units.items() if counts[kind]]
    of = f"{models:,} model{'s' * (models != 1)} for Triton {', '.join(releases)}"
    fixable = sum(bool(each.problem.edits) for each in findings)
    more = f"; --fix mends {fixable} of them" if fixable else ""
    if hidden:
        more += f"; {hidden:,} note{'s' * (hidden != 1)}: --notes shows {'them' if hidden != 1 else 'it'}"
    return f"{', '.join(told) or 'nothing found'} in {of}{more}"
