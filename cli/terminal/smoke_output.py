"""The result of `modelrepo smoke`: a table, JSON, and JUnit's XML."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
from rich.console import Console
from rich.table import Table

from modelrepo.cli.terminal import tables
from modelrepo.cli.terminal.errors import show_error
from modelrepo.generator.errors import OptionError, RepositoryError, without_escapes
from modelrepo.generator.repository.lifecycle.smoke import Smoked

STYLES = {"passed": "green", "unasked": "yellow", "failed": "red", "unreachable": "red"}
WIDE = ("model", "version", "ready", "config", "labels", "asked", "worst (limit)", "latency", "result")
# For a terminal that has no room for them all.
NARROW = ("model", "version", "config", "labels", "worst", "latency", "result")
SUITE = "modelrepo smoke"
# What XML 1.0 can't hold, not even escaped.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def nothing_published(root: Path) -> RepositoryError:
    """Return the error for a repository without a published model."""
    return RepositoryError(f"{root} has no published models", "Run generate first, or name another with --repository")


def told(row: Smoked) -> str:
    """Return the result of one model in a few words."""
    return f"{row.cases} right answers" if row.status == "passed" else row.status


def show(rows: Sequence[Smoked]) -> None:
    """Print a row for each model, and on stderr the reason of each that is not served as published."""
    console = Console(highlight=False)
    wide = _table(rows, WIDE)
    unbounded = console.options.update(max_width=tables.PIPE_WIDTH)
    fits = not console.is_terminal or console.measure(wide, options=unbounded).maximum <= console.width
    tables.show(wide if fits else _table(rows, NARROW))
    for row in rows:
        for note in row.notes:
            click.echo(f"{row.name}: {note}")
        if row.unasked:
            click.echo(f"{row.name}: its answers were not checked: {row.unasked}")
        for difference in row.config_differs:
            if difference not in row.failure:
                click.echo(f"{row.name}: {difference}")
    for row in rows:
        if row.failure:
            show_error(without_escapes(f"{row.name}: {reason(row)}"))


def _table(rows: Sequence[Smoked], headings: Sequence[str]) -> Table:
    table = tables.columns(*headings)
    table.columns[0].overflow = "fold"  # a name is never cut
    for row in rows:
        style = STYLES[row.status]
        cells = {
            "model": row.name,
            "version": row.version or "-",
            "ready": "yes" if row.ready else "no",
            "config": _config(row),
            "labels": {True: "right", False: "wrong", None: "-"}[row.labels],
            "asked": str(row.cases) if row.cases else "-",
            "worst (limit)": "-" if row.worst is None else f"{row.worst:.1e} ({row.limit or 0.0:.1e})",
            "worst": "-" if row.worst is None else f"{row.worst:.1e}",
            "latency": "-" if row.latency is None else f"{row.latency * 1e3:.1f} ms",
            "result": f"[{style}]{row.status}[/{style}]",
        }
        table.add_row(*(cells[heading] for heading in headings))
    return table


def reason(row: Smoked) -> str:
    """Return why a model fails, with the next step."""
    return f"{row.failure}. {row.hint}" if row.hint else row.failure


def _config(row: Smoked) -> str:
    if not row.ready:
        return "-"
    return "differs" if row.config_differs else "same"


def as_json(rows: Sequence[Smoked], url: str, repository: Path) -> str:
    """Return the result as indented JSON."""
    results: list[dict[str, Any]] = [{**asdict(row), "status": row.status} for row in rows]
    passed = bool(rows) and all(not row.failure for row in rows)
    document = {"url": url, "repository": str(repository), "passed": passed, "results": results}
    return json.dumps(document, indent=2, ensure_ascii=False).replace("Infinity", '"inf"')


def write_junit(path: Path, rows: Sequence[Smoked], url: str) -> None:
    """Write a test case for each model; OptionError if the file can't be written."""
    kinds = {"failed": "failure", "unreachable": "error", "unasked": "skipped"}
    counts = {kind: sum(kinds.get(row.status) == kind for row in rows) for kind in ("failure", "error", "skipped")}
    suite = ElementTree.Element(
        "testsuite", name=SUITE, tests=str(len(rows)), failures=str(counts["failure"]), errors=str(counts["error"]),
        skipped=str(counts["skipped"]), time=_seconds(sum(row.seconds for row in rows)), hostname=_text(url),
    )  # fmt: skip
    for row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=SUITE, name=_text(row.name), time=_seconds(row.seconds)
        )
        if row.status in kinds:
            why = _text(reason(row) if row.failure else row.unasked)
            found = ElementTree.SubElement(case, kinds[row.status], message=why)
            found.text = _text("\n".join((why, *row.config_differs)))
    suites = ElementTree.Element("testsuites", name=SUITE)
    suites.append(suite)
    ElementTree.indent(suites)
    try:
        path.write_bytes(ElementTree.tostring(suites, "utf-8", xml_declaration=True) + b"\n")
    except OSError as error:
        raise OptionError(f"can't write {path}: {error.strerror or error}") from error


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _text(value: str) -> str:
    return UNWRITABLE.sub("\ufffd", value)
