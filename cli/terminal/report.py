"""How a run of `generate` is reported: progress on stderr, results on stdout."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from modelrepo.cli.terminal.errors import INTERRUPTED, show_error
from modelrepo.cli.terminal.tables import PIPE_WIDTH, columns, echoed
from modelrepo.generator.errors import DeferredError, ModelRepoError
from modelrepo.generator.progress import Listener
from modelrepo.generator.specs.findings import Coverage, Optimization, Verification
from modelrepo.generator.specs.report import Report, Result

STATUS_STYLES = {
    "published": "green",
    "unchanged": "green",
    "deferred": "yellow",
    "skipped": "yellow",
    "failed": "red",
}
NEXT_STEP = "plans build"
UNCOMPARED = "no fault, but what these answer was not compared"
REACHING = "--json lists them; inputs that reach them, given with --samples, are compared as well"
FINISHING = (
    "On a host with the GPU, `modelrepo plans build` builds, compares and publishes. With -v, the commands that build "
    "in NVIDIA's container are printed; they only build."
)


class Follower(Listener):
    """Follows a run on stderr: a spinner while a step runs (on a terminal only), and a line with its time after it."""

    def __init__(self, quiet: bool, verbose: bool = False) -> None:
        # The stream itself: during a step, frameworks can't print to sys.stderr.
        self.console = Console(file=sys.stderr, highlight=False)
        self.quiet, self.verbose = quiet, verbose
        self.status: Status | None = None
        self.title = ""

    def started(self, title: str) -> None:
        """Show a spinner."""
        self.title = title
        if not self.quiet and self.console.is_terminal:
            self.status = self.console.status(Text(f"{title} …"))
            self.status.start()

    def finished(self, title: str, seconds: float, outcome: str) -> None:
        """Print the step with its time."""
        self.failed(title)
        if not self.quiet:
            remark = f"  {outcome}" if outcome else ""
            self.console.print(Text(f"{seconds:6.1f} s  {title}{remark and ':'}{remark}"), soft_wrap=True)

    def failed(self, title: str) -> None:
        """Take the spinner away."""
        if self.status:
            self.status.stop()
            self.status = None

    def advanced(self, title: str, done: int, total: int) -> None:
        """Show the progress of a download."""
        if self.status:
            of_total = f" of {total / 1e6:.0f}" if total else ""
            self.status.update(Text(f"{title} … {done / 1e6:.0f}{of_total} MB"))

    def noted(self, remark: str) -> None:
        """Show the progress of the step."""
        if self.status:
            self.status.update(Text(f"{self.title} … {remark}"))

    def shown(self, line: str) -> None:
        """Print a line as it is."""
        if not self.quiet:
            self.console.print(Text(line, style="dim"), soft_wrap=True)

    def ran(self, command: str) -> None:
        """Print a command line, if the user asked for them."""
        if self.verbose:
            self.console.print(Text(f"$ {command}", style="dim"), soft_wrap=True)

    def warned(self, message: str) -> None:
        """Print a warning."""
        self.console.print(Text("warning: ", style="bold yellow") + Text(message), soft_wrap=True)


def print_table(report: Report, verbose: bool = False) -> None:
    """Print a row for each model and backend, and below the table the parts that do not fit into it.

    If everything failed for one reason, print nothing: the error says it all. ``verbose`` adds the commands, which are
    long, that build deferred plans.
    """
    if _one_reason(report):
        return
    steps = list(dict.fromkeys(result.next_step for result in report.results if result.status == "deferred"))
    wide = _table(report.results, with_path=True)
    console = Console(highlight=False, soft_wrap=True)
    unbounded = console.options.update(max_width=PIPE_WIDTH)
    fits = not console.is_terminal or console.measure(wide, options=unbounded).maximum <= console.width
    with echoed(console):
        console.width = max(console.width, PIPE_WIDTH)
        console.print(wide if fits else _table(report.results, with_path=False))
        for result in report.results:
            if result.path and not fits:
                console.print(f"{result.name}: {_relative(result.path)}", markup=False)
            if result.status in ("deferred", "skipped"):
                console.print(f"{result.name}: {', '.join(result.notes)}", markup=False)
            if result.failure and not console.is_terminal:  # a terminal shows the errors right below
                console.print(f"{result.name}: {result.failure.message}", markup=False)
            if result.status == "published" and result.verification.coverage:
                for line in _unreached(result.verification.coverage):
                    console.print(f"{result.name}: {line}", markup=False)
            for line in (*_of_samples(result.verification), *_optimized(result.optimization)):
                console.print(f"{result.name}: {line}", markup=False)
        if steps:
            console.print(f"\n{FINISHING}", markup=False)
        for step in steps if verbose else ():
            console.print(f"\n{step}", markup=False)


def _table(results: Sequence[Result], with_path: bool) -> Table:
    """Return the table; without paths and live checks, and with headings in two lines it fits an 80-column terminal."""
    worst, step = ("worst difference", "next step") if with_path else ("worst\ndifference", "next\nstep")
    lowered = any(result.precision != "fp32" for result in results)
    headings = [
        "model",
        "backend",
        *(["precision"] if lowered else []),
        "version",
        "status",
        "batch",
        worst,
        *(["covered", "live check", "path"] if with_path else []),
        step,
    ]
    table = columns()
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("version", "batch") else "left")
    for result in results:
        cells: list[str | Text] = [
            result.name,
            result.backend,
            *([result.precision] if lowered else []),
            str(result.version or "-"),
            Text(result.status, style=STATUS_STYLES[result.status]),
            "-" if result.max_batch_size is None else str(result.max_batch_size),
            _worst(result.verification),
            *(_covered_to_path(result) if with_path else []),
            NEXT_STEP if result.status == "deferred" else "-",
        ]
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return table


def _of_samples(verification: Verification) -> Iterator[str]:
    """Yield what was done with the user's samples, and the accuracy on them where numbers were compared."""
    if verification.samples:
        yield verification.samples
    reached = verification.accuracy
    if reached:
        yield f"accuracy {reached.value:.1%} of {reached.samples} labelled samples (the source: {reached.source:.1%})"


def _optimized(optimization: Optimization) -> Iterator[str]:
    """Yield what was done to a model and what that costs."""
    if optimization.done:
        yield "; ".join(optimization.done)
    if optimization.kept:
        yield f"kept precise: {', '.join(optimization.kept)}"
    reached = optimization.accuracy
    if reached:
        yield str(reached) if reached.is_cosine else f"{reached} samples (the source: {reached.source:.1%})"


def _covered_to_path(result: Result) -> list[str]:
    """Return the cells that only a wide table has."""
    coverage = result.verification.coverage
    covered = f"{coverage.covered}/{coverage.behaviours}" if coverage and coverage.behaviours else "-"
    return [covered, _live(result.verification), _relative(result.path) if result.path else "-"]


def _unreached(coverage: Coverage) -> Iterator[str]:
    """Yield the behaviours that no input reached, and why some can't be seen."""
    yield from coverage.reasons
    if coverage.missing:
        count = coverage.behaviours - coverage.covered
        yield f"no input reached {count} of its behaviours, such as {coverage.missing[0]}: {UNCOMPARED}. {REACHING}"


def _worst(verification: Verification) -> str:
    if verification.passed is None or verification.max_rel_diff is None:
        return "-"
    return f"{verification.max_rel_diff:.1e}"


def _live(verification: Verification) -> str:
    return verification.live.status if verification.live else "-"


def _relative(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def print_json(report: Report) -> None:
    """Print the report as one JSON object."""
    document = {
        "repository": str(report.repository),
        "results": [_result_document(result) for result in report.results],
        "seconds": {step: round(seconds, 3) for step, seconds in report.seconds.items()},
    }
    click.echo(json.dumps(document, indent=2))


def _result_document(result: Result) -> dict[str, Any]:
    verification = asdict(result.verification)
    document: dict[str, Any] = {
        "model": result.model,
        "backend": result.backend,
        "precision": result.precision,
        "name": result.name,
        "version": result.version,
        "status": result.status,
        "path": str(result.path) if result.path else None,
        "max_batch_size": result.max_batch_size,
        "verification": verification,
        "optimization": asdict(result.optimization),
        "client": str(result.client) if result.client else None,
        "next_step": result.next_step,
        "notes": list(result.notes),
    }
    if result.failure:
        document["error"] = {"message": result.failure.message, "exit_code": result.failure.exit_code}
    return document


def show_failures(report: Report, strict: bool) -> int:
    """Print every error of a run once, and return the exit code of the first; an interrupt comes before all."""
    named: dict[ModelRepoError, list[str]] = {}
    for result in report.results:
        if result.failure:
            named.setdefault(result.failure, []).append(result.name)
    for failure, names in named.items():
        show_error(str(failure) if _one_reason(report) else f"{', '.join(names)}: {failure}")
    if report.interrupted:
        show_error("interrupted: models that the report calls published stay, nothing else was changed")
        return INTERRUPTED
    deferred = [result.name for result in report.results if result.status == "deferred"]
    if strict and deferred and not named:
        failure = DeferredError(f"{', '.join(deferred)} can't be finished on this machine")
        show_error(str(failure))
        return failure.exit_code
    return next((failure.exit_code for failure in named), 0)


def _one_reason(report: Report) -> bool:
    """Whether all rows failed, for one and the same reason."""
    return len({result.failure for result in report.results}) == 1 and bool(report.results[0].failure)
