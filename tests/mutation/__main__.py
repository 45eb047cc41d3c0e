"""`make mutation`: faults in published graphs, and the share of them that verification notices."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from modelrepo.generator.system.cache import cache_folder
from tests.conftest import PROJECT
from tests.kept_rows import KeptRows, resumable
from tests.mutation import processes
from tests.mutation.cases import FAMILIES, cases_of
from tests.mutation.mutants import Row, Task, work
from tests.mutation.page import PAGE, page

STATE = PROJECT / "build/mutation/rows.jsonl"
SEED = 1


@click.command()
@click.option("--family", "families", multiple=True, type=click.Choice(list(FAMILIES)), help="Only this; may repeat.")
@click.option("--only", default="", help="Only cases whose FAMILY/NAME matches this expression.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N cases of each family.")
@click.option("--mutants", default=5, type=click.IntRange(1), help="How many mutants a case gets. Default: 5.")
@click.option("--seed", default=SEED, help="Chooses the faults and their places. Default: 1.")
@click.option("--jobs", default=2, type=click.IntRange(1), help="How many cases run at a time.")
@click.option("--seconds", default=300.0, help="How long the next mutant may take. Default: 300.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Where exported models are kept.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found; exported models stay.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page from what is known.")
def main(
    families: Sequence[str],
    only: str,
    limit: int | None,
    mutants: int,
    seed: int,
    jobs: int,
    seconds: float,
    folder: Path | None,
    fresh: bool,
    update_page: bool,
) -> None:
    """Run the cases that have no rows yet, and print what is missed, by fault; a run of all cases writes the page."""
    state = KeptRows(STATE, Row, fresh)
    chosen = [
        case
        for family in (families or tuple(FAMILIES))
        for case in cases_of([family])[:limit]
        if re.search(only, case.key)
    ]
    finished = {row.case for row in state.rows if not row.fault and row.seed == seed}
    waiting = [] if update_page else [case for case in chosen if case.key not in finished]
    kept_in = str(folder or cache_folder() / "mutation")
    groups = [
        [Task(case.key, mutants, seed, kept_in) for case in own[start : start + kind.together]]
        for family, kind in FAMILIES.items()
        for own in ([case for case in waiting if case.family == family],)
        for start in range(0, len(own), kind.together)
    ]
    start, done = time.monotonic(), 0
    with resumable(), closing(processes.run(groups, work, jobs, seconds)) as rows:
        for task, found in rows:
            row = Row(task.case, "", "", "refused", found, seed=seed) if isinstance(found, str) else found
            state.add(row)
            done += not row.fault
            if row.status in ("missed", "refused", "exported"):
                what = f"{row.fault}: {row.place}" if row.fault else row.reason
                elapsed = time.monotonic() - start
                click.echo(
                    f"{done} of {len(waiting)}, {elapsed:.0f} s: {row.case}: {row.status} {what}"[:240], err=True
                )
    keys = {case.key for case in chosen}
    known = _latest([row for row in state.rows if row.case in keys and row.seed == seed])
    if update_page or not (families or only or limit):
        PAGE.write_text(page(known), "utf-8")
    click.echo(report(known))


def _latest(rows: Sequence[Row]) -> list[Row]:
    """Return each mutant's last row: a case that was cut short has some twice."""
    return list({(row.case, row.fault, row.place): row for row in rows}.values())


def report(rows: Sequence[Row]) -> str:
    """Return the figures, and what was missed, by fault and case."""
    counts = Counter(row.status for row in rows)
    total = counts["noticed"] + counts["missed"]
    share = f"{counts['noticed'] / total:.1%}" if total else "nothing"
    lines = [
        f"{share} of {total} mutants of {counts['exported']} graphs are noticed; {counts['equivalent']} are "
        f"equivalent, {counts['invalid']} can't be loaded, {counts['refused']} cases are not published"
    ]
    missed = defaultdict(list)
    for row in rows:
        if row.status == "missed":
            missed[row.fault].append(row)
    for fault, each in sorted(missed.items(), key=lambda pair: -len(pair[1])):
        whole = sum(row.fault == fault and row.status == "noticed" for row in rows) + len(each)
        lines += [
            f"\n{fault}: {len(each)} of {whole} missed",
            *(f"  {row.case}: {row.place} ({row.reason[:120]})" for row in each),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
