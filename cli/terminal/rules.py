"""Rules of `check` in a terminal: their pages, and the table of them."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from modelrepo.generator.lint.page import releases
from modelrepo.generator.lint.rule import Rule

# Narrower text can't be read; wider text is hard to.
NARROWEST, WIDEST = 60, 110


def _width() -> int | None:
    """Return the width of the terminal; None if the output is not one, where lines stay as they are."""
    if not sys.stdout.isatty():
        return None
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def wrapped(page: str) -> str:
    """Return a page in Markdown with its paragraphs as wide as the terminal; code stays as it is."""
    width, code, lines = _width(), False, []
    for line in page.splitlines():
        code ^= line.startswith("```")
        plain = width is None or code or not line
        lines += [line] if plain else textwrap.wrap(line, width or 0, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def table(rules: Sequence[Rule]) -> Iterator[str]:
    """Yield the lines of a table: code, severity, who decides, and what the rule finds."""
    width = _width()
    longest = max((len(rule.code) for rule in rules), default=0)
    for rule in rules:
        start = f"{rule.code:{longest}}  {rule.severity:11}  {rule.decided_by:11}  "
        told = f"{rule.title}{' (--fix)' if rule.fixable else ''}"
        yield from (
            [start + told]
            if width is None
            else textwrap.wrap(
                told, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
            )
        )


def as_json(rules: Sequence[Rule]) -> str:
    """Return rules as one JSON object."""
    rows = [
        {
            "code": rule.code,
            "severity": rule.severity,
            "decided_by": rule.decided_by,
            "releases": releases(rule),
            "fixable": rule.fixable,
            "title": rule.title,
            "triton": rule.triton,
            "write": rule.write,
            "seen": rule.seen or None,
            "source": rule.source or None,
        }
        for rule in rules
    ]
    return json.dumps({"rules": rows}, indent=2)
