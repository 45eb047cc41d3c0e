"""`make coverage`: generates and serves every model of the tables, and writes docs/reference/coverage.md and .csv."""

import re
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import click

from modelrepo.generator.system import memory
from tests.conftest import PROJECT
from tests.coverage.cases import FAMILIES, Case, cases_of
from tests.coverage.page import PAGE as PAGE
from tests.coverage.page import ROWS as ROWS
from tests.coverage.page import page, read, table
from tests.coverage.row import Row
from tests.coverage.runner import Limits, run
from tests.kept_rows import KeptRows, resumable

STATE = PROJECT / "build/coverage/rows.jsonl"
# A model whose memory is bounded by this leaves the machine some.
SHARE_OF_MEMORY = 0.9


@click.command()
@click.option("--family", "families", multiple=True, type=click.Choice(list(FAMILIES)), help="Only this; may repeat.")
@click.option("--only", default="", help="Only models whose FAMILY/NAME matches this expression.")
@click.option("--first", type=click.IntRange(1), help="Only the first N of each family.")
@click.option("--jobs", default=1, type=click.IntRange(1), help="How many run at a time.")
@click.option("--seconds", default=900.0, help="How long a model may take. Default: 900.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--retry-failed", is_flag=True, help="Run those again that failed.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page and its CSV file from what is known.")
def main(
    families: tuple[str, ...],
    only: str,
    first: int | None,
    jobs: int,
    seconds: float,
    fresh: bool,
    retry_failed: bool,
    update_page: bool,
) -> None:
    """Run the models that have no row yet for the installed tools; exit with 1 if a model failed.

    Each row is kept at once: an interrupted run continues where it stopped. A run of all models writes the page and its
    CSV file; so does --update-page, which takes from the CSV file the rows that no kept run has.
    """
    kept = KeptRows(STATE, Row, fresh)
    cases = {family: cases_of(family) for family in FAMILIES if not families or family in families}
    tools = {family: FAMILIES[family].tools for family in cases}
    wanted = [case for own in cases.values() for case in own[:first] if re.search(only, case.key)]
    latest = {**(read(ROWS) if update_page else {}), **{row.key: row for row in kept.rows}}

    def stands(case: Case) -> bool:
        row = latest.get(case.key)
        return row is not None and row.tools == tools[case.family] and not (retry_failed and row.reason)

    waiting = [] if update_page else [case for case in wanted if not stands(case)]
    start = time.monotonic()
    limits = Limits(jobs, seconds, int(memory.available() * SHARE_OF_MEMORY / jobs))
    with resumable(), closing(run(waiting, limits)) as rows:
        for count, found in enumerate(rows, 1):
            row = replace(found, tools=tools[found.key.partition("/")[0]])
            kept.add(row)
            latest[row.key] = row
            outcome = f"FAILED: {row.reason}" if row.reason else f"{row.exporter}, {row.seconds:.0f} s"
            elapsed = time.monotonic() - start
            click.echo(f"{count} of {len(waiting)}, {elapsed:.0f} s: {row.key}: {outcome}", err=True)
    if update_page or not (families or only or first):
        PAGE.write_text(page(cases, latest), "utf-8")
        ROWS.write_text(table(cases, latest), "utf-8")
    counts = Counter("failed" if latest[case.key].reason else "served" for case in wanted if case.key in latest)
    click.echo(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
