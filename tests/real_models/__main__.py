"""`make real-models`: models with trained weights, generated and served; writes docs/reference/real-models.md."""

import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from modelrepo.generator.system.cache import cache_folder
from tests.conftest import PROJECT
from tests.kept_rows import KeptRows, resumable
from tests.mutation.processes import run
from tests.real_models.models import MODELS as MODELS
from tests.real_models.models import Model
from tests.real_models.page import PAGE as PAGE
from tests.real_models.page import ROWS as ROWS
from tests.real_models.page import page, read, table, tools
from tests.real_models.trial import FULL, Row, Task, answers_right, work

STATE = PROJECT / "build/real-models/rows.jsonl"


@click.command()
@click.option("--only", default="", help="Only models whose PACKAGE/NAME matches this expression.")
@click.option("--jobs", default=1, type=click.IntRange(1), help="How many run at a time.")
@click.option("--seconds", default=1500.0, help="How long a model may take. Default: 1500.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--retry-failed", is_flag=True, help="Run those again that were refused.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page and its CSV file from what is known.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Where the packages are kept.")
def main(
    only: str, jobs: int, seconds: float, fresh: bool, retry_failed: bool, update_page: bool, folder: Path | None
) -> None:
    """Run the models that have no rows yet; exit with 1 if a served model answers wrongly.

    Each row is kept at once: an interrupted run continues where it stopped. A run of all models writes the page and its
    CSV file; so does --update-page, which takes from the CSV file the rows that no kept run has.
    """
    kept = KeptRows(STATE, Row, fresh)
    latest = {**(read(ROWS) if update_page else {}), **{(row.key, row.precision): row for row in kept.rows}}
    wanted = [model for model in MODELS if re.search(only, model.key)]
    waiting = [] if update_page else [model for model in wanted if not _stands(model, latest, retry_failed)]
    cache = str(folder or cache_folder() / "real-models")
    start = time.monotonic()
    with resumable():
        groups = [[Task(model.key, cache)] for model in waiting]
        with closing(run(groups, work, jobs, seconds)) as rows:
            for task, found in rows:
                row = Row(task.key, FULL, "refused", found) if isinstance(found, str) else found
                row = replace(row, tools=tools(row.key))
                kept.add(row)
                latest[row.key, row.precision] = row
                elapsed = time.monotonic() - start
                click.echo(f"{elapsed:.0f} s: {row.key} {row.precision}: {row.outcome} {row.reason[:150]}", err=True)
    if update_page or not only:
        PAGE.write_text(page(MODELS, latest), "utf-8")
        ROWS.write_text(table(MODELS, latest), "utf-8")
    own = [row for row in latest.values() if any(row.key == model.key for model in wanted)]
    click.echo(_summary(own))
    sys.exit(0 if all(map(answers_right, own)) else 1)


def _stands(model: Model, latest: dict[tuple[str, str], Row], retry_failed: bool) -> bool:
    """Whether a model has its rows, measured with the installed tools."""
    rows = [row for (key, _), row in latest.items() if key == model.key]
    refused = retry_failed and any(row.outcome == "refused" for row in rows)
    return bool(rows) and not refused and all(row.tools == tools(model.key) for row in rows)


def _summary(rows: Sequence[Row]) -> str:
    """Return the figures in one line."""
    published = [row for row in rows if row.outcome == "published"]
    wrong = [row for row in rows if not answers_right(row)]
    return f"{len(published)} published, {len(rows) - len(published)} refused, {len(wrong)} wrong"


if __name__ == "__main__":
    main()
