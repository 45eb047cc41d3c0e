"""The report of a run of ``bench``: an HTML page, the same in Markdown and CSV, and JSON for programs."""

import json
from collections.abc import Callable
from pathlib import Path

from modelrepo.generator.errors import PerfError
from modelrepo.generator.system.files import replace_text
from modelrepo.perf.report import spreadsheet
from modelrepo.perf.report.page import markdown, page
from modelrepo.perf.results import documents
from modelrepo.perf.results.results import Results

PAGE = "report.html"


def write(results: Results, folder: Path) -> Path:
    """Write results.json, results.csv, report.md and report.html into a folder; return the page's path.

    Each file is written in one step, the page last. Raises PerfError if the folder can't be written, or if the library
    for plots is not installed; then the JSON is written all the same.
    """
    path = folder / PAGE
    texts: dict[str, Callable[[], str]] = {
        documents.FILE: lambda: json.dumps(documents.to_document(results, path), indent=2, allow_nan=False) + "\n",
        "results.csv": lambda: spreadsheet.text(results),
        "report.md": lambda: markdown(results),
        PAGE: lambda: page(results),
    }
    for name, text in texts.items():
        _write(folder / name, text())
    return path


def _write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PerfError(f"can't write the report {path}: {reason}", "Name another folder with --output") from error
