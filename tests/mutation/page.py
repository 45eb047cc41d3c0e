"""The page of the mutation test, docs/reference/mutation.md."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from tests.conftest import PROJECT
from tests.mutation.cases import FAMILIES
from tests.mutation.explained import EXPLAINED
from tests.mutation.faults import FAULTS
from tests.mutation.mutants import Row

PAGE = PROJECT / "docs/reference/mutation.md"
WIDTH = 120
PACKAGES = ("onnx", "onnxruntime", "torch", "tensorflow-cpu", "scikit-learn", "skl2onnx", "numpy")
HEAD = """# Mutation test

<!-- Made by: make mutation -->

"""
INTRODUCTION = (
    "How much verification notices. Into graphs that it has proven, one small fault each is injected, and the faulty "
    "graph is verified as `generate` verifies it. A fault counts if the graph still loads and some answer changes: by "
    "0.3% of the largest number of its output, or at all if it is not a float. The inputs that show this come from a "
    "generator of the test's own, which knows the data of each model. Faults that none of them shows are equivalent."
)
COLUMNS = "| {} | noticed | missed | share | equivalent |\n|---|---|---|---|---|\n"


def page(rows: Sequence[Row]) -> str:
    """Return the text of the page for the rows of all cases."""
    counts = Counter(row.status for row in rows)
    total = counts["noticed"] + counts["missed"]
    tools = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    figure = (
        f"**{_share(counts['noticed'], total)} of {total} faults are noticed**, in {counts['exported']} graphs. "
        f"{counts['equivalent']} mutants more are equivalent, and {counts['invalid']} can't be loaded. "
        f"Measured {datetime.now(UTC):%Y-%m-%d} with {tools}."
    )
    families = [
        _line(kind.title, [row for row in rows if row.case.startswith(f"{name}/")]) for name, kind in FAMILIES.items()
    ]
    kinds = [_line(fault.title, [row for row in rows if row.fault == fault.name]) for fault in FAULTS]
    missed = [_missed(row) for row in sorted(rows, key=lambda row: (row.fault, row.case)) if row.status == "missed"]
    refused = [f"- `{row.case}`: {_plain(row.reason)}\n" for row in rows if row.status == "refused"]
    return (
        f"{HEAD}{_filled(INTRODUCTION)}\n\n{_filled(figure)}\n"
        f"\n## By source\n\n{COLUMNS.format('source')}{''.join(families)}"
        f"\n## By fault\n\n{COLUMNS.format('fault')}{''.join(kinds)}"
        f"\n## What is missed\n\n{''.join(missed) or 'Nothing.' + chr(10)}"
        + (f"\n## Models that are not published\n\n{''.join(refused)}" if refused else "")
    )


def _line(title: str, rows: Sequence[Row]) -> str:
    counts = Counter(row.status for row in rows)
    total = counts["noticed"] + counts["missed"]
    share = _share(counts["noticed"], total)
    return f"| {title} | {counts['noticed']} | {counts['missed']} | {share} | {counts['equivalent']} |\n"


def _share(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else ""


def _missed(row: Row) -> str:
    """Return the entry of a missed mutant, with its explanation if there is one."""
    why = next((text for (fault, case), text in EXPLAINED.items() if fault == row.fault and case in row.case), "")
    return f"- `{row.case}`, {row.fault}: {_plain(row.place)}. {why or 'Not explained yet.'}\n"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:200]


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
