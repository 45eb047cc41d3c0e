"""Findings for programs: JSON, SARIF 2.1.0, and the annotations and job summaries of GitHub's workflows."""

import hashlib
import html
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelrepo.cli.terminal.findings import Lines, one_line, printable
from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint.finding import Edit, Finding, Place
from modelrepo.generator.lint.page import page
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.repository.layout import CONFIG

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "information": "note"}
ANNOTATIONS = {"error": "error", "warning": "warning", "information": "notice"}
# GitHub's words for how grave an alert is that is not about security.
GRAVITY = {"error": "error", "warning": "warning", "information": "recommendation"}
# The root of the checkout, to which paths are relative, by the name that GitHub's own analysis gives it.
ROOT = "%SRCROOT%"
# Folders above a place without a line, in which the configuration is looked for that stands for it.
ABOVE = 2
# GitHub drops the summary of a step that is longer than 1 MiB.
MOST_SUMMARY = 900_000


def as_json(findings: Sequence[Finding], releases: Sequence[str], models: int) -> str:
    """Return findings as one JSON object."""
    counts = {kind: sum(each.severity == kind for each in findings) for kind in LEVELS}
    rows = [_printable(each.as_dict()) for each in findings]
    return json.dumps({"releases": list(releases), "models": models, "counts": counts, "findings": rows}, indent=2)


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    return {key: printable(value) if isinstance(value, str) else value for key, value in row.items()}


def as_github(finding: Finding) -> str:
    """Return a finding as the command that annotates a line of a pull request, escaped as GitHub's toolkit does.

    The message begins with the place, since the log of a step shows the message alone.
    """
    shown = _shown(finding.problem.place)
    properties = {
        "file": _relative(shown.file),
        "line": str(shown.line or 1),
        **({"col": str(shown.column)} if shown.column else {}),
        "title": finding.code,
    }
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = _data(f"{_told(finding.problem.place)}: {finding.problem.says}{_only(finding)}\n{finding.problem.write}")
    return f"::{ANNOTATIONS[finding.severity]} {written}::{message}"


def _only(finding: Finding) -> str:
    return f" (only {', '.join(finding.releases)})" if finding.releases else ""


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def add_to_job_summary(findings: Sequence[Finding], counted: str) -> None:
    """Append findings to the summary of a GitHub job, if this is one: it shows them all, and ten annotations of a kind.

    RepositoryError if the file can't be written.
    """
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with open(summary, "a", encoding="utf-8") as file:  # noqa: PTH123 - a path of any bytes
            file.write(as_markdown(findings, counted))
    except OSError as error:
        raise RepositoryError(f"can't write GITHUB_STEP_SUMMARY {summary}: {error.strerror or error}") from error


def as_markdown(findings: Sequence[Finding], counted: str) -> str:
    """Return findings as a table in Markdown, as many as fit into the summary of a job, the gravest first."""
    parts = [f"### modelrepo check: {counted}\n\n"]
    if findings:
        parts.append("| | place | rule | what Triton does | what to write |\n|---|---|---|---|---|\n")
    size = 0
    ranks = list(LEVELS)
    for number, each in enumerate(sorted(findings, key=lambda each: ranks.index(each.severity))):
        row = _markdown_row(each)
        size += len(row.encode())
        if size > MOST_SUMMARY:
            parts.append(f"\nand {len(findings) - number:,} more, which are in the log\n")
            break
        parts.append(row)
    return "".join(parts) + "\n"


def _markdown_row(finding: Finding) -> str:
    cells = (_told(finding.problem.place), finding.code, finding.problem.says + _only(finding), finding.problem.write)
    place, code, says, write = (html.escape(one_line(cell), quote=False).replace("|", "&#124;") for cell in cells)
    return f"| {finding.severity} | <code>{place}</code> | {code} | {says} | {write} |\n"


def _relative(path: Path) -> str:
    """Return a path as GitHub wants it: relative to the checkout, if it lies there."""
    root = _root()
    full = os.path.abspath(path)  # noqa: PTH100 - links stay as they are written
    return os.path.relpath(full, root) if full.startswith(root.rstrip("/") + "/") else full


def _root() -> str:
    return os.environ.get("GITHUB_WORKSPACE") or os.getcwd()  # noqa: PTH109 - a path of any bytes


def _told(place: Place) -> str:
    return str(Place(Path(_relative(place.file)), place.line, place.column))


def _shown(place: Place) -> Place:
    """Return the line that shows a place: GitHub shows nothing on folders, nor on files that are not there.

    It is the first of the configuration in the folder, or above it; the place itself if there is none.
    """
    if place.line or is_file(place.file):
        return Place(place.file, place.line or 1, place.column)
    for folder in (place.file, *list(place.file.parents)[:ABOVE]):
        if is_file(folder / CONFIG):
            return Place(folder / CONFIG, 1)
    return place


def as_sarif(findings: Sequence[Finding], rules: Iterable[Rule], lines: Lines, version: str) -> str:
    """Return findings as SARIF 2.1.0, as GitHub's code scanning reads it."""
    listed = {rule.code: rule for rule in rules}
    driver = {
        "name": "modelrepo check",
        "semanticVersion": version,
        "rules": [_reporting(rule) for rule in listed.values()],
    }
    marks = _fingerprints(findings, lines)
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"uri": f"file://{quote(os.fsencode(_root().rstrip('/') + '/'))}"}},
        "results": [_result(each, mark, list(listed)) for each, mark in zip(findings, marks, strict=True)],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _reporting(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.triton},
        "help": {"text": rule.write, "markdown": page(rule)},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": ["triton", rule.decided_by], "problem.severity": GRAVITY[rule.severity]},
    }


def _fingerprints(findings: Iterable[Finding], lines: Lines) -> Iterator[str]:
    """Yield a mark of each finding, which stays when lines above it come or go.

    GitHub's action adds its own, of the line: it needs a file that is there, and a line.
    """
    seen = Counter[str]()
    for each in findings:
        place = each.problem.place
        what = lines.at(place).strip() if place.line else each.problem.says
        key = "\0".join((each.code, _relative(place.file), what))
        seen[key] += 1
        yield hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _result(finding: Finding, fingerprint: str, codes: Sequence[str]) -> dict[str, Any]:
    problem = finding.problem
    shown = _shown(problem.place)
    elsewhere = "" if shown.file == problem.place.file else f"{_told(problem.place)}: "
    fixes = [{"description": {"text": printable(problem.write)}, "artifactChanges": _changes(problem.edits)}]
    only = f" Only for {', '.join(finding.releases)}." if finding.releases else ""
    return {
        "ruleId": finding.code,
        **({"ruleIndex": codes.index(finding.code)} if finding.code in codes else {}),
        "level": LEVELS[finding.severity],
        "message": {"text": f"{printable(elsewhere + problem.says)}. {printable(problem.write)}.{only}"},
        "locations": [{"physicalLocation": _location(shown)}],
        "partialFingerprints": {"modelrepo/v1": fingerprint},
        **({"fixes": fixes} if problem.edits else {}),
    }


def _location(place: Place) -> dict[str, Any]:
    region = {"startLine": place.line, **({"startColumn": place.column} if place.column else {})}
    return {"artifactLocation": _artifact(place.file), **({"region": region} if place.line else {})}


def _artifact(path: Path) -> dict[str, str]:
    relative = _relative(path)
    uri = quote(os.fsencode(relative))
    return {"uri": f"file://{uri}"} if relative.startswith("/") else {"uri": uri, "uriBaseId": ROOT}


def _changes(edits: Sequence[Edit]) -> list[dict[str, Any]]:
    by_file: dict[Path, list[dict[str, Any]]] = {}
    for edit in edits:
        first, last = _places(edit)
        region = {"startLine": first[0], "startColumn": first[1], "endLine": last[0], "endColumn": last[1]}
        by_file.setdefault(edit.file, []).append(
            {"deletedRegion": region, "insertedContent": {"text": printable(edit.text)}}
        )
    return [{"artifactLocation": _artifact(file), "replacements": each} for file, each in by_file.items()]


def _places(edit: Edit) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where an edit begins and ends, with a real place for the end of the file."""
    if edit.begins != (0, 0):
        return edit.begins, edit.ends
    lines = edit.file.read_bytes().decode("utf-8", "surrogateescape").split("\n") if edit.file.is_file() else [""]
    end = (len(lines), len(lines[-1]) + 1)
    return end, end
