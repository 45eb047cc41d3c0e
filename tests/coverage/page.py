"""docs/reference/coverage.md: what a run has found, as tables."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from modelrepo.server.binaries.runtime import TRITON_VERSION
from tests.conftest import PROJECT
from tests.coverage.cases import FAMILIES, Case
from tests.coverage.row import Row
from tests.coverage.worker import OPTIONS

PAGE = PROJECT / "docs/reference/coverage.md"
REASON_LENGTH, WIDTH = 300, 120
HEAD = """# Coverage

<!-- Made by: make coverage -->

What `generate` makes of the models of other projects. None has trained weights: those here are random, seeded.
"""
ABOUT = (
    "Every model is generated with `{options}`, compared with its source, and then asked in a real Triton "
    "({triton}, on the CPU) over gRPC and HTTP. *Exports* names the exporter that was used. The worst difference, "
    "in this process or through Triton, is relative to the answer's magnitude. Seconds are those of `generate` "
    "without the import of frameworks, on one core of a machine whose two cores several runs shared.",
    "So that all can be measured in about an hour, pictures are at most 256 wide: networks made for larger ones are "
    "asked at the size that stands beside their name, and videos have few frames. Without trained weights some "
    "networks hardly depend on their input: comparing them proves little, and their row says so.",
)
SUMMARY = "| models | all | exported | verified | served | failed | proves little |\n|---|---|---|---|---|---|---|\n"
LITTLE = "proves little"
TABLE = (
    "| model | exports | verified | served | worst difference | seconds | remarks |\n|---|---|---|---|---|---|---|\n"
)


def page(cases: Mapping[str, Sequence[Case]], rows: Mapping[str, Row]) -> str:
    """Return the page's text: ``cases`` by family, and what became of them by their keys."""
    dates = sorted({row.date for row in rows.values() if row.date})
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in OPTIONS.items() if name != "client_dir")
    about = [text.format(options=flags, triton=TRITON_VERSION) for text in ABOUT]
    measured = f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}." if dates else "Nothing was measured."
    parts = [HEAD, *(f"\n{textwrap.fill(text, WIDTH)}\n" for text in (*about, measured))]
    parts.append(f"\n{SUMMARY}")
    parts += [_summary(FAMILIES[family].title, own, rows) for family, own in cases.items()]
    parts.append(_summary("**all**", [case for own in cases.values() for case in own], rows))
    for family, own in cases.items():
        kind = FAMILIES[family]
        told = f"{kind.about} {_tools([rows[case.key] for case in own if case.key in rows])}"
        parts.append(f"\n## {kind.title}\n\n{textwrap.fill(told, WIDTH)}\n\n{TABLE}")
        parts += [_line(case, rows[case.key]) for case in own if case.key in rows]
    return "".join(parts)


def _tools(rows: Sequence[Row]) -> str:
    """Return a sentence of what most models were measured with, and one for each that was measured with other tools."""
    counts = Counter(row.tools for row in rows).most_common()
    if not counts:
        return ""
    ((most, _), *others) = counts
    told = (f"{', '.join(_named(row) for row in rows if row.tools == tools)}: {tools}." for tools, _ in others)
    return " ".join((f"{most}.", *told))


def _named(row: Row) -> str:
    return row.key.partition("/")[2]


def _summary(title: str, cases: Sequence[Case], rows: Mapping[str, Row]) -> str:
    found = [rows[case.key] for case in cases if case.key in rows]
    missing = len(cases) - len(found)
    stages = (sum(bool(getattr(row, stage)) for row in found) for stage in ("exporter", "verified", "served", "reason"))
    little = sum(any(LITTLE in note for note in row.notes) for row in found)
    count = f"{len(cases)} ({missing} not measured)" if missing else f"{len(cases)}"
    return f"| {title} | {' | '.join(map(str, (count, *stages, little)))} |\n"


def _line(case: Case, row: Row) -> str:
    remarks = row.reason or "; ".join(row.notes)
    cells = (
        f"{case.name} ({case.said})" if case.said else case.name,
        row.exporter or "no",
        "yes" if row.verified else "no",
        "yes" if row.served else "no",
        "" if row.difference is None else f"{row.difference:.1e}",
        f"{row.seconds:.0f}",
        textwrap.shorten(remarks, REASON_LENGTH, placeholder=" …").replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |\n"
