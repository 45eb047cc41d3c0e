"""What `modelrepo bench` prints: a table and a plot, or JSON; what changed between two results; the scenarios."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.report import PIPE_WIDTH
from generator.errors import ModelRepoError, PerfError
from perf import compare, documents
from perf.report import terminal
from perf.results import Comparison, InProcess, Ratio, Results
from perf.scenarios import scenario

PLOT_WIDTH = 80
VERDICTS = {"better": "green", "worse": "red", "noise": "dim", "unknown": "yellow"}


def tell_results(results: Results, page: Path | None, error: ModelRepoError | None, *, as_json: bool) -> None:
    """Print what was measured, and where the report is."""
    if as_json:
        document = documents.to_document(results, page)
        document.pop("runs")  # every run is in the report's own JSON
        if error:
            document["error"] = {"message": str(error), "exit_code": error.exit_code}
        click.echo(json.dumps(document, indent=2))
        return
    console = Console(highlight=False)
    width = console.width if console.is_terminal else PIPE_WIDTH
    if results.measurements:
        _print(terminal.table(results), width)
        plot = terminal.plot(results, min(width, PLOT_WIDTH), console.is_terminal)
        if plot:
            click.echo(f"\n{plot}")
    if results.in_process:
        _print(_in_process(results.in_process), width)
    if results.comparisons:
        click.echo()
        _print(_comparisons(results.comparisons), width)
    for line in _scenario(results):
        click.echo(line)
    if page:
        click.echo(f"\nreport: {page}")


def _print(table: Table, width: int) -> None:
    console = Console(highlight=False, width=width)
    with console.capture() as capture:
        console.print(table)
    # Not by rich itself, which answers a reader that has gone with an exit code of its own.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _columns(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=True, justify="right" if number > 1 else "left")
    return table


def _ratio(ratio: Ratio | None) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" if ratio else "-"


def _comparisons(comparisons: tuple[Comparison, ...]) -> Table:
    table = _columns("against", "load", "figure", "ratio (95 %)", "noise", "verdict")
    for each in comparisons:
        names = f"{each.subject.model} / {each.baseline.model}"
        unstable = "" if each.stable else " (unstable)"
        verdict = Text(each.verdict, VERDICTS[each.verdict]) + Text(unstable)
        table.add_row(Text(names), str(each.load), each.metric, _ratio(each.ratio), _ratio(each.noise), verdict)
    return table


def _in_process(rows: tuple[InProcess, ...]) -> Table:
    table = _columns(
        "model", "framework", "batch", "mean", "p50", "p95", "p99", "samples/s", "memory", "speed-up (95 %)"
    )
    for row in rows:
        times = (f"{value / 1e3:.3g} ms" for value in (row.mean, row.p50, row.p95, row.p99))
        memory = f"{row.memory_bytes / 1e6:.0f} MB" if row.memory_bytes else "-"
        table.add_row(
            Text(row.model),
            row.framework,
            str(row.batch_size),
            *times,
            f"{row.throughput:.4g}",
            memory,
            _ratio(row.speed_up),
        )
    return table


def _scenario(results: Results) -> Iterator[str]:
    outcome = results.scenario
    if outcome is None:
        return
    requests = outcome.requests
    yield (
        f"\n{outcome.name}: {requests.sent:,} requests sent, {requests.answered:,} answered, {requests.failed:,} "
        f"failed; {requests.checked:,} answers checked, {requests.wrong:,} wrong"
    )
    yield from (f"  {remark}" for remark in outcome.remarks)
    yield from (click.style(f"  broken: {breach}", fg="red") for breach in outcome.breaches)
    if not outcome.breaches and not results.incomplete:
        yield click.style("  passed", fg="green")


def tell_changes(before: Path, after: Path, *, as_json: bool) -> None:
    """Print what changed from one result to another; PerfError where one can't be read, or they share nothing."""
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
    _print(_comparisons(changes), Console().width if Console().is_terminal else PIPE_WIDTH)
    for difference in other:
        click.echo(f"differs: {difference}")


def tell_scenarios(*, as_json: bool) -> None:
    """Print the load tests that can be named."""
    found = [scenario.read(name) for name in scenario.names()]
    if as_json:
        click.echo(json.dumps([{"name": each.name, "description": each.description} for each in found], indent=2))
        return
    for each in found:
        click.echo(f"{each.name:8}  {each.description}")
