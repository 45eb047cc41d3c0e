"""Findings for programs: JSON, SARIF 2.1.0, and the annotations of GitHub's workflows."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelrepo.cli.terminal.findings import printable
from modelrepo.generator.lint.finding import Edit, Finding, Place
from modelrepo.generator.lint.page import page
from modelrepo.generator.lint.rule import Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "information": "note"}
ANNOTATIONS = {"error": "error", "warning": "warning", "information": "notice"}


def as_json(findings: Sequence[Finding], releases: Sequence[str], models: int) -> str:
    """Return findings as one JSON object."""
    counts = {kind: sum(each.severity == kind for each in findings) for kind in LEVELS}
    rows = [_row(each) for each in findings]
    return json.dumps({"releases": list(releases), "models": models, "counts": counts, "findings": rows}, indent=2)


def _row(finding: Finding) -> dict[str, Any]:
    place = finding.problem.place
    return {
        "code": finding.code,
        "severity": finding.severity,
        "model": printable(finding.model),
        "file": printable(str(place.file)),
        "line": place.line or None,
        "column": place.column or None,
        "says": printable(finding.problem.says),
        "write": printable(finding.problem.write),
        "releases": list(finding.releases),
        "fixable": bool(finding.problem.edits),
    }


def as_github(finding: Finding) -> str:
    """Return a finding as the command that annotates a line of a pull request, escaped as GitHub's toolkit does."""
    place = finding.problem.place
    only = f" (only {', '.join(finding.releases)})" if finding.releases else ""
    properties = {
        "file": _relative(place.file),
        "line": str(place.line or 1),
        **({"col": str(place.column)} if place.column else {}),
        "title": finding.code,
    }
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = _data(f"{finding.problem.says}{only}\n{finding.problem.write}")
    return f"::{ANNOTATIONS[finding.severity]} {written}::{message}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _relative(path: Path) -> str:
    """Return a path as GitHub wants it: relative to the checkout, if it lies there."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.getcwd()  # noqa: PTH109 - a path of any bytes
    full = os.path.abspath(path)  # noqa: PTH100 - links stay as they are written
    return os.path.relpath(full, root) if full.startswith(root.rstrip("/") + "/") else full


def as_sarif(findings: Sequence[Finding], rules: Iterable[Rule], version: str) -> str:
    """Return findings as SARIF 2.1.0."""
    listed = {rule.code: rule for rule in rules}
    codes = list(listed)
    driver = {
        "name": "modelrepo check",
        "semanticVersion": version,
        "rules": [_reporting(rule) for rule in listed.values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, codes) for each in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _reporting(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.triton},
        "help": {"text": rule.write, "markdown": page(rule)},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _result(finding: Finding, codes: Sequence[str]) -> dict[str, Any]:
    problem = finding.problem
    located = {"physicalLocation": _location(problem.place)}
    fixes = [{"description": {"text": printable(problem.write)}, "artifactChanges": _changes(problem.edits)}]
    only = f" Only for {', '.join(finding.releases)}." if finding.releases else ""
    return {
        "ruleId": finding.code,
        **({"ruleIndex": codes.index(finding.code)} if finding.code in codes else {}),
        "level": LEVELS[finding.severity],
        "message": {"text": f"{printable(problem.says)}. {printable(problem.write)}.{only}"},
        "locations": [located],
        **({"fixes": fixes} if problem.edits else {}),
    }


def _location(place: Place) -> dict[str, Any]:
    region = {"startLine": place.line, **({"startColumn": place.column} if place.column else {})}
    return {"artifactLocation": _artifact(place.file), **({"region": region} if place.line else {})}


def _artifact(path: Path) -> dict[str, str]:
    uri = quote(os.fsencode(path))
    return {"uri": f"file://{uri}" if path.is_absolute() else uri}


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
