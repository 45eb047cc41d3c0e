"""The output of `modelrepo bench`: a table and a plot, or JSON; the changes between two results; the scenarios."""

import json
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from modelrepo.cli.terminal import tables
from modelrepo.generator.errors import ModelRepoError, PerfError
from modelrepo.perf.report import terminal, verdict
from modelrepo.perf.results import compare, documents
from modelrepo.perf.results.results import Results
from modelrepo.perf.scenarios import scenario

PLOT_WIDTH = 80
COLOURS = {"good": "green", "bad": "red"}


def print_results(results: Results, page: Path | None, error: ModelRepoError | None, *, as_json: bool) -> None:
    """Print the results, and the path of the report."""
    if as_json:
        document = documents.to_document(results, page)
        document.pop("runs")  # every run is in the report's own JSON
        if error:
            document["error"] = {"message": str(error), "exit_code": error.exit_code}
        click.echo(json.dumps(document, indent=2))
        return
    if results.measurements:
        tables.show(terminal.table(results))
        console = Console()
        plot = terminal.plot(results, min(tables.width(console), PLOT_WIDTH), console.is_terminal)
        if plot:
            click.echo(f"\n{plot}")
    if results.in_process:
        tables.show(terminal.in_process(results.in_process))
    if results.comparisons:
        click.echo()
        tables.show(terminal.comparisons(results))
    if results.scenario:
        click.echo()
    for sentence in (*verdict.scenario(results), *verdict.incomplete(results)):
        click.echo(click.style(sentence.text, fg=COLOURS.get(sentence.tone)))
    if page:
        click.echo(f"\nreport: {page}")


def print_changes(before: Path, after: Path, *, as_json: bool) -> None:
    """Print the changes from one result to another; PerfError if one can't be read, or they share nothing."""
    old, new = documents.read(before), documents.read(after)
    changes = compare.compare_results(old, new)
    if not changes:
        raise PerfError(f"{before} and {after} have no model, protocol and load in common", "Measure the same again")
    other = list(compare.differences(old.environment, new.environment))
    if as_json:
        rows = [documents.comparison_document(change) for change in changes]
        click.echo(
            json.dumps({"before": str(before), "after": str(after), "changes": rows, "environment": other}, indent=2)
        )
        return
    tables.show(terminal.comparisons(replace(new, comparisons=changes)))
    for difference in other:
        click.echo(f"differs: {difference}")


def print_scenarios(*, as_json: bool) -> None:
    """Print the built-in load tests."""
    found = [scenario.read(name) for name in scenario.names()]
    if as_json:
        click.echo(json.dumps([{"name": each.name, "description": each.description} for each in found], indent=2))
        return
    for each in found:
        click.echo(f"{each.name:8}  {each.description}")
