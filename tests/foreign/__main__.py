"""`make foreign`: tests of other projects through the product; writes docs/reference/foreign.md."""

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

import click

from tests.conftest import PROJECT
from tests.foreign import page
from tests.foreign.case import OUTCOMES, Row, Task
from tests.foreign.suites import SUITES, sample
from tests.foreign.trial import measured, work
from tests.kept_rows import KeptRows, resumable
from tests.mutation import processes

STATE = PROJECT / "build/foreign/rows.jsonl"
SECONDS = 240.0
# How many cases share a process.
TOGETHER = 20


@click.command()
@click.option("--tensorflow-onnx", "tensorflow_onnx", type=click.Path(path_type=Path), help="A checkout of it.")
@click.option("--sklearn-onnx", "sklearn_onnx", type=click.Path(path_type=Path), help="A checkout of it.")
@click.option("--onnxmltools", type=click.Path(path_type=Path), help="A checkout of it.")
@click.option("--pytorch", type=click.Path(path_type=Path), help="A checkout of it.")
@click.option("--triton", type=click.Path(path_type=Path), help="A checkout of triton-inference-server/server.")
@click.option("--only", default="", help="Only cases whose SUITE/NAME matches this expression.")
@click.option("--jobs", default=1, type=click.IntRange(1), help="How many run at a time.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page and its CSV file from what is known.")
@click.option("--again", default="", help="Run those again whose outcome matches this expression.")
def main(only: str, jobs: int, fresh: bool, update_page: bool, again: str, **checkouts: Path | None) -> None:
    """Run the cases of the sample that have no row yet; exit with 1 if a published model is wrong.

    A run of all cases writes the page and its CSV file; so does --update-page, which takes from the CSV file the rows
    that no kept run has.
    """
    kept = KeptRows(STATE, Row, fresh)
    latest = {**(page.read(page.ROWS) if update_page else {}), **{row.key: row for row in kept.rows}}
    folders = {suite: checkouts[suite.replace("-", "_")] for suite in SUITES}
    wanted = [
        Task(suite, name, str(folder.resolve()))
        for suite, name in sample()
        if (folder := folders[suite]) and not update_page and re.search(only, f"{suite}/{name}")
    ]
    waiting = [
        task for task in wanted if task.key not in latest or (again and re.search(again, latest[task.key].outcome))
    ]
    start = time.monotonic()
    with resumable(), closing(processes.run(_groups(waiting), work, jobs, SECONDS)) as rows:
        for count, (task, found) in enumerate(rows, 1):
            row = measured(Row(task.key, "crash", found), task) if isinstance(found, str) else found
            kept.add(row)
            latest[row.key] = row
            seconds = time.monotonic() - start
            click.echo(
                f"{count} of {len(waiting)}, {seconds:.0f} s: {row.key}: {row.outcome} {row.reason[:150]}", err=True
            )
    keys = [f"{suite}/{name}" for suite, name in sample()]
    known = {key: latest[key] for key in keys if key in latest}
    if update_page or len(wanted) == len(keys):
        page.PAGE.write_text(page.page(known, page.causes(), len(keys)), "utf-8")
        page.ROWS.write_text(page.table(known.values()), "utf-8")
    found_rows = [row for key, row in known.items() if re.search(only, key)]
    click.echo(summary(found_rows))
    sys.exit(1 if any(row.outcome == "wrong" for row in found_rows) else 0)


def _groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """Return tasks that share a process, of every suite in turn, so that a run cut short has seen some of each."""
    by_suite = [[task for task in tasks if task.suite == suite] for suite in SUITES]
    dealt = zip_longest(*([own[at : at + TOGETHER] for at in range(0, len(own), TOGETHER)] for own in by_suite))
    return [list(group) for turn in dealt for group in turn if group]


def summary(rows: Sequence[Row]) -> str:
    """Return the figures of each suite."""
    counts = Counter((row.key.partition("/")[0], row.outcome) for row in rows)
    return "\n".join(f"{suite}: " + ", ".join(f"{counts[suite, each]} {each}" for each in OUTCOMES) for suite in SUITES)


if __name__ == "__main__":
    main()
