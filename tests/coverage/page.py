"""The coverage page, docs/reference/coverage.md, and the rows behind it, docs/reference/coverage.csv."""

import csv
import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelrepo.server.binaries.runtime import TRITON_VERSION
from tests.conftest import PROJECT
from tests.coverage.cases import FAMILIES, Case
from tests.coverage.row import Row
from tests.coverage.worker import OPTIONS

PAGE = PROJECT / "docs/reference/coverage.md"
ROWS = PROJECT / "docs/reference/coverage.csv"
WIDTH = 120
HEAD = """# Coverage

<!-- Made by: make coverage -->

"""
INTRODUCTION = (
    "What `generate` makes of models from other projects. Each model is a row of [coverage.csv](coverage.csv). No "
    "model has trained weights: they are random and seeded. {measured}"
)
HOW = (
    "Every model is generated with `{options}` and compared with its source. Then a real Triton ({triton}, on the CPU) "
    "is asked over gRPC and HTTP.",
    "To measure everything in about an hour, images are at most 256 pixels wide and videos have few frames. The column "
    "`details` names the size if it is not the model's default.",
)
MEANING = """- **exported**: an exporter wrote an ONNX model. The column `exporter` names it.
- **verified**: in this process, the ONNX model answers as its source does.
- **served**: through Triton, it answers as its source does.
- **proves little**: the model passed, but without trained weights it hardly depends on its input.
- **worst difference**: the largest difference, in this process or through Triton, relative to the answer's magnitude.
- **seconds**: the time of `generate` without importing frameworks, on one core. Other models ran on the other core.
- **remarks**: the notes of `generate`. "…" marks notes that were shortened.
- **tools** and **date**: the versions that a row was measured with, and the day (UTC).
"""
LITTLE = "proves little"
SUMMARY = (
    "| family | models | exported | verified | served | failed | proves little | worst difference |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
COLUMNS = (
    *("key", "details", "exporter", "verified", "served", "worst_difference", "seconds", "failure", "remarks"),
    *("tools", "date"),
)


def page(cases: Mapping[str, Sequence[Case]], rows: Mapping[str, Row]) -> str:
    """Return the page's text: a summary of what was found for ``cases``, by family; ``rows`` are by key."""
    every = [case for own in cases.values() for case in own]
    dates = sorted({row.date for row in rows.values() if row.date})
    measured = f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}." if dates else "Nothing was measured."
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in OPTIONS.items() if name != "client_dir")
    how = "\n\n".join(_filled(text.format(options=flags, triton=TRITON_VERSION)) for text in HOW)
    summary = [_summary(FAMILIES[family].title, own, rows) for family, own in cases.items()]
    summary.append(_summary("**all**", every, rows))
    failures = [f"- `{row.key}`: {_line(row.reason)}\n" for row in _found(every, rows) if row.reason]
    failed = "".join(failures or ["No model failed.\n"])
    families = [_family(family, own, rows) for family, own in cases.items()]
    return (
        f"{HEAD}{_filled(INTRODUCTION.format(measured=measured))}\n\n{SUMMARY}{''.join(summary)}"
        f"\n## What failed\n\n{failed}"
        f"\n## How it was measured\n\n{how}\n"
        f"\n## What the figures mean\n\n{MEANING}"
        f"\n## The families\n\n{''.join(families)}"
    )


def table(cases: Mapping[str, Sequence[Case]], rows: Mapping[str, Row]) -> str:
    """Return the text of the CSV file: a line for each of ``cases`` that was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for own in cases.values():
        writer.writerows(_cells(case, rows[case.key]) for case in own if case.key in rows)
    return text.getvalue()


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a CSV file by their keys; none if there is no file."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            cells["key"]: Row(
                cells["key"],
                cells["exporter"],
                cells["verified"] == "yes",
                cells["served"] == "yes",
                float(cells["worst_difference"]) if cells["worst_difference"] else None,
                float(cells["seconds"]),
                cells["failure"],
                (cells["remarks"],) if cells["remarks"] else (),
                cells["tools"],
                cells["date"],
            )
            for cells in csv.DictReader(file)
        }


def _cells(case: Case, row: Row) -> tuple[str, ...]:
    return (
        row.key,
        case.said,
        row.exporter,
        "yes" if row.verified else "no",
        "yes" if row.served else "no",
        _difference(row.difference),
        f"{row.seconds:.0f}",
        _line(row.reason),
        _line("; ".join(row.notes)),
        row.tools,
        row.date,
    )


def _found(cases: Sequence[Case], rows: Mapping[str, Row]) -> list[Row]:
    return [rows[case.key] for case in cases if case.key in rows]


def _summary(title: str, cases: Sequence[Case], rows: Mapping[str, Row]) -> str:
    found = _found(cases, rows)
    missing = len(cases) - len(found)
    stages = (sum(bool(getattr(row, stage)) for row in found) for stage in ("exporter", "verified", "served", "reason"))
    little = sum(any(LITTLE in note for note in row.notes) for row in found)
    worst = max((row.difference for row in found if row.difference is not None), default=None)
    count = f"{len(cases)} ({missing} not measured)" if missing else f"{len(cases)}"
    return f"| {title} | {' | '.join(map(str, (count, *stages, little, _difference(worst))))} |\n"


def _family(family: str, cases: Sequence[Case], rows: Mapping[str, Row]) -> str:
    kind = FAMILIES[family]
    text = f"- **{kind.title}** (`{family}/`). {kind.about} {_tools(_found(cases, rows))}"
    return f"{_filled(text.rstrip(), indent='  ')}\n"


def _tools(rows: Sequence[Row]) -> str:
    """Return the tools that most models were measured with, then the models that were measured with different ones."""
    counts = Counter(row.tools for row in rows).most_common()
    if not counts:
        return ""
    ((most, _), *others) = counts
    different = (f"{', '.join(_name(row) for row in rows if row.tools == tools)}: {tools}." for tools, _ in others)
    return " ".join((f"Measured with {most}.", *different))


def _name(row: Row) -> str:
    return row.key.partition("/")[2]


def _difference(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
