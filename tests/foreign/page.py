"""The page of other projects' tests, docs/reference/foreign.md, and the rows behind it, docs/reference/foreign.csv."""

import csv
import io
import re
import textwrap
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT
from tests.foreign.case import OUTCOMES, Row
from tests.foreign.suites import SUITES
from tests.foreign.trial import OPTIONS

PAGE = PROJECT / "docs/reference/foreign.md"
ROWS = PROJECT / "docs/reference/foreign.csv"
CAUSES = Path(__file__).parent / "causes.toml"
WIDTH = 120
HEAD = """# Tests of other projects

<!-- Made by: make foreign -->

"""
INTRODUCTION = (
    "What `generate` makes of models in the tests of other projects: a fixed sample of them, named in "
    "`tests/foreign/sample.txt`. Each test is a row of [foreign.csv](foreign.csv). {measured}"
)
HOW = (
    "`make foreign` reads checkouts that you name; nothing of them is part of this repository. The helpers with which "
    "the tests convert and compare are replaced while a test runs, so that its model and its inputs are known. Of each "
    "test the first model counts.",
    "Every model is generated with `{options}`. If that is refused, it is generated again with the test's own inputs "
    "as `--samples`. The published file then answers the test's own inputs in ONNX Runtime. Floats may differ by a "
    "thousandth of the largest number of the output, everything else is equal.",
    "A model that is refused is converted by hand: the test itself runs, with the library's own converter and ONNX "
    "Runtime. That asks it the test's own inputs only. Where a person found that it is wrong for other inputs, or that "
    "Triton can't serve it, `tests/foreign/causes.toml` says so, and counts.",
    "A folder that is not a checkout of git may name its commit in a file `.commit`.",
)
MEANING = """- **right**: published, and the answers to the test's own inputs are those of the source.
- **wrong**: published, and an answer differs.
- **refused rightly**: converted by hand, it fails or is wrong, too.
- **refused without need**: converted by hand, it is right.
- **crashed**: an error that nobody foresaw, or no end within its time.
- **no model**: with these versions, the test makes no model.
"""
TITLES = {
    "right": "right",
    "wrong": "wrong",
    "rightly": "refused rightly",
    "needless": "refused without need",
    "crash": "crashed",
    "absent": "no model",
}
NOT_EXPLAINED = "Not explained yet: "
# What comes before the message of a case without a cause.
UNEXPLAINED = {"wrong": "", "crash": "", "needless": NOT_EXPLAINED, "rightly": "By hand it fails, too: "}


@dataclass(frozen=True)
class Cause:
    """Why cases are refused, for those whose name and message match; ``verdict`` is "rightly" or "needless"."""

    verdict: str
    why: str
    cases: str = ""
    message: str = ""

    def fits(self, row: Row) -> bool:
        """Whether a refused case has this cause."""
        return bool(re.search(self.cases, row.key) and re.search(self.message, row.reason))


def causes() -> tuple[Cause, ...]:
    """Return the known causes, the first that fits a case counts."""
    return tuple(Cause(**each) for each in tomllib.loads(CAUSES.read_text("utf-8"))["cause"])


def judged(rows: Iterable[Row], known: Sequence[Cause]) -> list[tuple[Row, str, str]]:
    """Return each row with its outcome and its cause; a person's verdict on a refused case counts more than the run.

    What crashed or never ended stays so, whatever its cause.
    """
    found = []
    for row in rows:
        refused, ended = row.outcome in ("needless", "rightly"), row.outcome != "crash"
        cause = next((each for each in known if (refused or not ended) and each.fits(row)), None)
        found.append((row, cause.verdict if cause and ended else row.outcome, cause.why if cause else ""))
    return found


def page(rows: Mapping[str, Row], known: Sequence[Cause], cases: int) -> str:
    """Return the page's text from the rows by their keys; ``cases`` is how many the sample has."""
    found = judged(rows.values(), known)
    counts = Counter((row.key.partition("/")[0], outcome) for row, outcome, _ in found)
    dates = sorted({row.date for row in rows.values() if row.date})
    measured = f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}." if dates else "Nothing was measured."
    if len(rows) < cases:
        measured += f" {cases - len(rows)} of {cases} were not run."
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in OPTIONS.items())
    how = "\n\n".join(_filled(text.format(options=flags)) for text in HOW)
    return (
        f"{HEAD}{_filled(INTRODUCTION.format(measured=measured))}\n\n{_summary(counts)}"
        f"\n## Wrong, or crashed\n\n{_listed(found, ('wrong', 'crash'))}"
        f"\n## Refused without need\n\n{_listed(found, ('needless',))}"
        f"\n## Refused rightly\n\n{_listed(found, ('rightly',))}"
        f"\n## How it was measured\n\n{how}\n"
        f"\n## What the figures mean\n\n{MEANING}"
        f"\n## The suites\n\n{''.join(_suite(suite, rows.values()) for suite in SUITES)}"
    )


def _summary(counts: Mapping[tuple[str, str], int]) -> str:
    lines = [
        f"| suite | cases | {' | '.join(TITLES[each] for each in OUTCOMES)} |",
        f"|---|---|{'---|' * len(OUTCOMES)}",
    ]
    lines += [_counted(kind.title, [counts[suite, each] for each in OUTCOMES]) for suite, kind in SUITES.items()]
    lines.append(_counted("**all**", [sum(counts[suite, each] for suite in SUITES) for each in OUTCOMES]))
    return "\n".join(lines) + "\n"


def _counted(title: str, own: Sequence[int]) -> str:
    return f"| {title} | {sum(own)} | {' | '.join(map(str, own))} |"


def _listed(found: Sequence[tuple[Row, str, str]], outcomes: Sequence[str]) -> str:
    """Return the cases with one of these outcomes, grouped by cause, most frequent first."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row, outcome, why in found:
        if outcome in outcomes:
            groups[why or f"{UNEXPLAINED[outcome]}{row.reason}"].append(row)
    lines = []
    for why, own in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        names = ", ".join(f"`{row.key}`" for row in own)
        lines.append(_filled(f"- {' '.join(why.split())} ({len(own)}): {names}", "  ") + "\n")
    return "".join(lines) or "None.\n"


def _suite(suite: str, rows: Iterable[Row]) -> str:
    own = [row for row in rows if row.key.startswith(f"{suite}/")]
    measured = " and ".join(dict.fromkeys(f"at commit {row.commit or 'unknown'}, with {row.tools}" for row in own))
    kind = SUITES[suite]
    return _filled(f"- **{kind.title}**, `--{kind.option}`. {kind.about} {measured.capitalize()}.", "  ") + "\n"


def table(rows: Iterable[Row]) -> str:
    """Return the text of the CSV file; of what was said by hand it has the kind of error only."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(Row)])
    for row in rows:
        values = {**vars(row), "by_hand": re.split(r"[:\s]", row.by_hand)[0]}
        writer.writerow(["yes" if value is True else "" if value is False else value for value in values.values()])
    return text.getvalue()


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a CSV file by their keys; none if there is no file."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {cells["key"]: _row(cells) for cells in csv.DictReader(file)}


def _row(cells: dict[str, Any]) -> Row:
    flags = {name: cells[name] == "yes" for name in ("samples", "caught")}
    return Row(**{**cells, **flags, "seconds": float(cells["seconds"])})


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
