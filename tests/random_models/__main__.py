"""`make random-models`: random models of every kind through the product, beside their sources."""

import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing

import click

from tests.conftest import PROJECT
from tests.kept_rows import KeptRows, resumable
from tests.mutation import processes
from tests.random_models import tensorflow_models, torch_models
from tests.random_models.trial import OUTCOMES, Row, Task, work

STATE = PROJECT / "build/random-models/rows.jsonl"
# How many of each kind, and how many of them share a process.
COUNTS = {
    "torch": 260,
    "sklearn": 180,
    "tensorflow": 160,
    # Each operator alone; those of PyTorch by each exporter.
    "each-torch": 2 * len((*torch_models.OPS, *torch_models.UNTRANSLATED)),
    "each-tensorflow": len((*tensorflow_models.OPS, *tensorflow_models.UNCONVERTED)),
}
TOGETHER = 20
SECONDS = 240.0


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(COUNTS)), help="Only this; may repeat.")
@click.option("--only", default="", help="Only models whose KIND/SEED matches this expression.")
@click.option("--seed", default=1, help="The first seed of each kind. Default: 1.")
@click.option("--limit", type=click.IntRange(1), help="Only so many of each kind.")
@click.option("--jobs", default=2, type=click.IntRange(1), help="How many run at a time.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--again", default="", help="Run those again whose outcome matches this expression.")
def main(kinds: Sequence[str], only: str, seed: int, limit: int | None, jobs: int, fresh: bool, again: str) -> None:
    """Run the models that have no row yet; exit with 1 if a published model is wrong."""
    kept = KeptRows(STATE, Row, fresh)
    latest = {row.key: row for row in kept.rows}
    wanted = [
        Task(kind, number)
        for kind, count in COUNTS.items()
        if not kinds or kind in kinds
        for number in range(seed, seed + min(limit or count, count))
        if re.search(only, f"{kind}/{number}")
    ]
    waiting = [
        task for task in wanted if task.key not in latest or (again and re.search(again, latest[task.key].outcome))
    ]
    groups = [own[start : start + TOGETHER] for own in _by_kind(waiting) for start in range(0, len(own), TOGETHER)]
    start = time.monotonic()
    with resumable(), closing(processes.run(groups, work, jobs, SECONDS)) as rows:
        for count, (task, found) in enumerate(rows, 1):
            row = Row(task.key, "crash", found) if isinstance(found, str) else found
            kept.add(row)
            latest[row.key] = row
            seconds = time.monotonic() - start
            click.echo(
                f"{count} of {len(waiting)}, {seconds:.0f} s: {row.key}: {row.outcome} {row.reason[:150]}", err=True
            )
    rows_found = [latest[task.key] for task in wanted if task.key in latest]
    click.echo(summary(rows_found))
    sys.exit(1 if any(row.outcome == "wrong" for row in rows_found) else 0)


def _by_kind(tasks: Sequence[Task]) -> list[list[Task]]:
    return [[task for task in tasks if task.kind == kind] for kind in COUNTS]


def summary(rows: Sequence[Row]) -> str:
    """Return the figures, and what was wrong or not published, grouped by cause."""
    counts = Counter((row.key.partition("/")[0], row.outcome) for row in rows)
    lines = [f"{kind}: " + ", ".join(f"{counts[kind, each]} {each}" for each in OUTCOMES) for kind in COUNTS]
    for outcome in ("wrong", "edge", "crash", "caught", "refused", "source"):
        groups = defaultdict(list)
        for row in rows:
            if row.outcome == outcome:
                groups[cause(row)].append(row.key)
        lines += [
            f"\n{outcome}:",
            *(
                f"  {len(keys)} x {name}: {', '.join(keys[:8])}"
                for name, keys in sorted(groups.items(), key=lambda each: -len(each[1]))
            ),
        ]
    return "\n".join(lines)


def cause(row: Row) -> str:
    """Return what models of one cause share: the line of the first wrong output, or the message without its numbers."""
    line = _line(row) if row.outcome in ("wrong", "edge", "caught") else ""
    if line:
        return re.sub(r"\bv\d+\b|\b[xkm]\b", "_", line)
    fitted = re.search(r"^model = (.*)\.fit\(", row.text, re.MULTILINE)
    if fitted and row.outcome in ("wrong", "edge", "caught"):
        return " | ".join(re.findall(r"[A-Z]\w+(?=\()", fitted.group(1)))
    return re.sub(r"-?\d[\d.e+-]*|v\d+|[0-9a-f]{8,}", "N", row.reason)[:140]


def _line(row: Row) -> str:
    """Return the expression of the output that a reason names first; empty if it names none."""
    found = re.search(r"\b(output(?:_(\d+))?|v\d+)\b", row.reason.removeprefix("output "))
    returned = re.search(r"^        return (.*)$", row.text, re.MULTILINE)
    if not (found and returned):
        return ""
    names = re.findall(r"\bv\d+\b(?!\")", returned.group(1))
    name = names[int(found.group(2) or 0)] if found.group(1).startswith("output") else found.group(1)
    line = re.search(rf"^ *{name} = (.*)$", row.text, re.MULTILINE)
    return line.group(1) if line else ""


if __name__ == "__main__":
    main()
