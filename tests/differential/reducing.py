"""A smaller configuration of which the linter and the server still disagree in the same way."""

import re
from collections.abc import Iterator
from dataclasses import replace

from tests.differential.case import Case
from tests.differential.trial import Outcome, judged


def reduced(case: Case, outcome: Outcome) -> Case:
    """Return the smallest case with a disagreement like ``outcome`` that is found by leaving out fields, one by one."""
    while True:
        tried = [replace(case, name=f"{case.name}_{number}", config=text) for number, text in enumerate(_shorter(case))]
        wrong = {each.name for each in judged(tried) if not each.agrees and _kind(each) == _kind(outcome)}
        smaller = [each for each in tried if each.name in wrong]
        if not smaller:
            return case
        case = replace(min(smaller, key=lambda each: len(each.config or "")), name=case.name)


def _kind(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    """Return what outcomes of one cause share: Triton's reason without names, places and numbers, and our errors."""
    reason = outcome.verdict.reason.replace(outcome.name, "")
    return re.sub(r"\S*/\S*|'[^']*'|\d+", "", reason), outcome.errors


def _shorter(case: Case) -> Iterator[str]:
    """Yield the text without each of its lines, or the block that a line opens."""
    lines = (case.config or "").split("\n")
    for first, line in enumerate(lines):
        last = first
        if line.rstrip().endswith("{"):
            inner = (number for number, other in enumerate(lines) if number > first and _closes(other, line))
            last = next(inner, first)
        if line.strip() not in ("", "}"):
            yield "\n".join(lines[:first] + lines[last + 1 :])


def _closes(line: str, opening: str) -> bool:
    return line.rstrip() == " " * (len(opening) - len(opening.lstrip())) + "}"
