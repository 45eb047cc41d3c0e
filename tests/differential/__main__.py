"""`make differential`: the corpus and random repositories, given to the linter and to the real server."""

import hashlib
import sys
import time
from collections.abc import Iterator

import click

from tests.conftest import PROJECT
from tests.differential.case import Case
from tests.differential.corpus import corpus
from tests.differential.drawing import drawn
from tests.differential.mutated import mutated
from tests.differential.page import PAGE, page
from tests.differential.reducing import reduced
from tests.differential.rows import Row, row_of
from tests.differential.scheduling import schedulers
from tests.differential.trial import Outcome, judged
from tests.kept_rows import KeptRows, resumable

STATE = PROJECT / "build/differential/rows.jsonl"
# Random repositories of one seed.
BLOCK = 250
# Random repositories, models with texts that were changed, and schedulers and ensembles.
RANDOM = {"random": drawn, "texts": mutated, "schedulers": schedulers}
# Disagreements of a block that are made smaller.
SHOWN = 3


@click.command()
@click.option("--count", default=5000, help="How many random repositories of each kind. Default: 5000.")
@click.option("--seed", default=1, help="The first seed. Default: 1.")
@click.option("--module", "modules", multiple=True, help="Only this module of the corpus; may repeat.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page from what is known.")
def main(count: int, seed: int, modules: tuple[str, ...], fresh: bool, update_page: bool) -> None:
    """Run what has no row yet for these rules and cases, and exit with 1 if the linter and Triton disagree."""
    kept = KeptRows(STATE, Row, fresh)
    version = digest()
    known = {row.key: row for row in kept.rows if row.digest == version}
    blocks = range(seed, seed + -(-count // BLOCK))
    keys = [f"corpus/{name}" for name in corpus() if not modules or name in modules]
    keys += [] if modules else [f"{kind}/{number}" for kind in RANDOM for number in blocks]
    start = time.monotonic()
    with resumable():
        for key in () if update_page else (each for each in keys if each not in known):
            row = _row(key, version)
            kept.add(row)
            known[key] = row
            elapsed = time.monotonic() - start
            click.echo(f"{elapsed:.0f} s: {key}: {row.agreements} of {row.models} agree", err=True)
    rows = [known[key] for key in keys if key in known]
    if not modules:
        PAGE.write_text(page(rows), "utf-8")
    wrong = [told for row in rows for told in row.disagreements]
    click.echo(f"{sum(row.agreements for row in rows)} of {sum(row.models for row in rows)} models agree")
    for told in wrong:
        click.echo(f"\n{told}")
    sys.exit(1 if wrong else 0)


def digest() -> str:
    """Return what a row depends on: the linter, and the cases."""
    files = sorted([*(PROJECT / "generator/lint").rglob("*.py"), *(PROJECT / "tests/differential").rglob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _row(key: str, version: str) -> Row:
    kind, _, name = key.partition("/")
    cases = corpus()[name] if kind == "corpus" else tuple(RANDOM[kind](int(name), BLOCK))
    outcomes = list(judged(cases))
    wrong = [each for each in outcomes if not each.agrees]
    told = [*_told(wrong[:SHOWN], cases), *(str(each) for each in wrong[SHOWN:])]
    return row_of(key, version, outcomes, told)


def _told(wrong: list[Outcome], cases: tuple[Case, ...]) -> Iterator[str]:
    """Yield disagreements, with the smallest configuration that shows them."""
    models = {name: model for case in cases for name, model in ((case.name, case), *case.others.items())}
    for outcome in wrong:
        smallest = reduced(models[outcome.name], outcome)
        yield f"{outcome}\n{smallest.config}"


if __name__ == "__main__":
    main()
