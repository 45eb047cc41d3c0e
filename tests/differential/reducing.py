"""A smaller configuration of which the linter and the server still disagree in the same way."""

from collections.abc import Iterator
from dataclasses import replace

from tests.differential.case import Case
from tests.differential.trial import judged


def reduced(case: Case, loads: bool) -> Case:
    """Return the smallest case that is found by leaving out fields, one after another; ``loads`` as the server says."""
    while True:
        tried = [replace(case, name=f"{case.name}_{number}", config=text) for number, text in enumerate(_shorter(case))]
        tried = [replace(each, others={}) if case.alone else each for each in tried]
        wrong = {each.name for each in judged(tried) if not each.agrees and each.verdict.loads == loads}
        smaller = [each for each in tried if each.name in wrong]
        if not smaller:
            return case
        case = replace(min(smaller, key=lambda each: len(each.config or "")), name=case.name)


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
