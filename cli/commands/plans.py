"""`modelrepo plans`: list, build and verify TensorRT plans."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.verbose import VERBOSE

if TYPE_CHECKING:
    from modelrepo.generator.plans.finish import PlanResult, PlansReport
    from modelrepo.generator.plans.status import Standing

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
STYLES = {
    **dict.fromkeys(("published", "unchanged", "verified"), "green"),
    **dict.fromkeys(("pending", "built", "stale", "superseded", "deferred", "skipped"), "yellow"),
    **dict.fromkeys(("damaged", "failed"), "red"),
}
EXAMPLES = """
\b
Examples:
  modelrepo plans status                     list plans: pending, built, published or stale
  modelrepo plans build                      build, prove and publish all pending and stale plans
  modelrepo plans build resnet50_tensorrt --in container
  modelrepo plans verify                     run published plans again on this machine's GPU

\b
Exit codes:
  0 done, or deferred         6 repository
  1 unexpected                7 no GPU to verify on
  2 usage                     9 deferred, with --strict
  4 a plan can't be built     130 interrupted
  5 its answers differ
"""

NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
REPOSITORY = click.option(
    "--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml."
)  # fmt: skip
WHERE = click.option(
    "--in", "--plan-builder", "where", type=click.Choice(["auto", "process", "container"]), default="auto",
    show_default=True, help="In this process, or in the serving image; auto: the first that works here.",
)  # fmt: skip
AS_JSON = json_flag("Print the outcome as one JSON object.")
QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress, only warnings, errors and the outcome.")


@click.group(epilog=EXAMPLES, context_settings=SETTINGS)
def plans() -> None:
    """Finish the TensorRT plans that generate has prepared.

    A plan is built for one GPU and one TensorRT, on a host that has both: in this process, or in the serving container.
    Its answers are compared with ONNX Runtime's before it is published.
    """


@plans.command(context_settings=SETTINGS, short_help="Show the state of every plan.")
@REPOSITORY
@AS_JSON
def status(repository: Path | None, as_json: bool) -> None:
    """List plans: pending, built, published or stale; nothing is changed."""
    from modelrepo.generator.plans import finish as story

    root = _root(repository)
    found = story.standings(root)
    if as_json:
        document = {"repository": str(root.absolute()), "plans": [_standing_document(each) for each in found]}
        click.echo(json.dumps(document, indent=2))
    elif found:
        _print_standings(found)
    else:
        click.echo("no TensorRT plans: generate prepares them with --backends tensorrt")


@plans.command(context_settings=SETTINGS, short_help="Build, prove and publish plans.")
@NAMES
@REPOSITORY
@WHERE
@click.option("--rebuild", is_flag=True, help="Also build plans that are already built and published.")
@click.option("--strict", is_flag=True, help="Exit with 9 if a plan can't be built on this machine.")
@AS_JSON
@QUIET
@VERBOSE
def build(
    names: tuple[str, ...],
    repository: Path | None,
    where: Literal["auto", "process", "container"],
    rebuild: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Build pending and stale plans, all or those named, prove them, and publish them."""
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.generator.plans import finish as story
    from modelrepo.generator.progress import Progress

    report = story.build_plans(
        _root(repository), names, Progress(Follower(quiet, verbose)), wanted=where, rebuild=rebuild
    )
    _end(report, as_json, strict, verbose)


@plans.command(context_settings=SETTINGS, short_help="Compare built plans with their source again.")
@NAMES
@REPOSITORY
@WHERE
@AS_JSON
@QUIET
def verify(
    names: tuple[str, ...],
    repository: Path | None,
    where: Literal["auto", "process", "container"],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run built or published plans again, and compare their answers with ONNX Runtime's; nothing is changed."""
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.generator.plans import finish as story
    from modelrepo.generator.progress import Progress

    report = story.verify_plans(_root(repository), names, Progress(Follower(quiet)), wanted=where)
    _end(report, as_json, strict=False)


def _root(repository: Path | None) -> Path:
    from modelrepo.generator.options.config_file import default_repository

    return repository or default_repository()


def _end(report: "PlansReport", as_json: bool, strict: bool, verbose: bool = False) -> None:
    """Print the results and every failure; exit with the code of the first failure."""
    if as_json:
        click.echo(json.dumps(_report_document(report), indent=2))
    elif report.results:
        _print_results(report, verbose)
    else:
        click.echo("no TensorRT plans: generate prepares them with --backends tensorrt")
    raise click.exceptions.Exit(_show_failures(report, strict))


def _show_failures(report: "PlansReport", strict: bool) -> int:
    from modelrepo.cli.terminal.errors import INTERRUPTED, show_error
    from modelrepo.generator.errors import DeferredError, ModelRepoError

    failures: list[ModelRepoError] = []
    for result in report.results:
        if result.failure:
            failures.append(result.failure)
            show_error(f"{result.name}: {result.failure}")
    deferred = [result.name for result in report.results if result.outcome == "deferred"]
    if strict and deferred and not failures:
        failures.append(DeferredError(f"{', '.join(deferred)} can't be built on this machine"))
        show_error(str(failures[0]))
    if report.interrupted:
        show_error("interrupted: plans listed as published are published, nothing else was changed")
        return INTERRUPTED
    return failures[0].exit_code if failures else 0


# --- tables


def _print_standings(found: "tuple[Standing, ...]") -> None:
    rows = []
    for each in found:
        version = str(each.published.version) if each.published else "-"
        rows.append((each.name, each.entry.precision, each.status, version, *_built_cells(each.plans)))
    _print_table(("plan", "precision", "status", "version", "GPU", "TensorRT", "worst difference"), rows)
    for each in found:
        if each.changed:
            advice = f". {each.next_step}" if each.status in ("damaged", "superseded") else ""
            click.echo(f"\n{each.name}: {'; '.join(each.changed)}{advice}")
    if any(each.status in ("pending", "built", "stale") for each in found):
        click.echo("\nOn a host with the GPU: modelrepo plans build")


def _built_cells(plans: "tuple[Any, ...]") -> tuple[str, str, str]:
    """Return the GPUs, the TensorRT versions and the worst difference of built plans."""
    worst = max((plan.proof.max_rel_diff for plan in plans if plan.proof), default=None)
    return (
        ", ".join(f"{plan.gpu} ({plan.compute_capability})" for plan in plans) or "-",
        ", ".join(dict.fromkeys(plan.tensorrt for plan in plans)) or "-",
        "-" if worst is None else f"{worst:.1e}",
    )


def _print_results(report: "PlansReport", verbose: bool) -> None:
    steps = [result.entry.command for result in report.results if result.outcome == "deferred"]
    table = []
    for result in report.results:
        gpus, tensorrt, _ = _built_cells(result.plans)
        worst = "-" if result.max_rel_diff is None else f"{result.max_rel_diff:.1e}"
        step = "on a GPU host" if result.outcome == "deferred" else "-"
        version = str(result.version or "-")
        table.append((result.name, result.entry.precision, result.outcome, version, gpus, tensorrt, worst, step))
    headings = ("plan", "precision", "status", "version", "GPU", "TensorRT", "worst difference", "next step")
    _print_table(headings, table)
    for result in report.results:
        if result.reasons:
            click.echo(f"{result.name}: {', '.join(result.reasons)}")
    for step in steps if verbose else ():
        click.echo(f"\n{step}")


def _print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table whose third column is the status, in colour."""
    from rich.text import Text

    from modelrepo.cli.terminal import tables

    table = tables.columns(*headings)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES[cell] if place == 2 else "") for place, cell in enumerate(row)))
    tables.show(table)


# --- JSON


def _plan_document(plan: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan).items() if name != "inputs"}


def _standing_document(standing: "Standing") -> dict[str, Any]:
    return {
        "name": standing.name,
        "precision": standing.entry.precision,
        "status": standing.status,
        "version": standing.published.version if standing.published else None,
        "changed": list(standing.changed),
        "plans": [_plan_document(plan) for plan in standing.plans],
        "reason": standing.entry.reason,
        "next_step": standing.next_step,
    }


def _report_document(report: "PlansReport") -> dict[str, Any]:
    return {
        "repository": str(report.repository),
        "results": [_result_document(result) for result in report.results],
        "seconds": {step: round(seconds, 3) for step, seconds in report.seconds.items()},
    }


def _result_document(result: "PlanResult") -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": result.name,
        "precision": result.entry.precision,
        "status": result.outcome,
        "version": result.version,
        "plans": [_plan_document(plan) for plan in result.plans],
        "max_rel_diff": result.max_rel_diff,
        "reasons": list(result.reasons),
        "next_step": result.entry.command if result.outcome == "deferred" else None,
    }
    if result.failure:
        document["error"] = {"message": result.failure.message, "exit_code": result.failure.exit_code}
    return document
