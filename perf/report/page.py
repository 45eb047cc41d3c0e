"""The report as one self-contained HTML page, and as Markdown for a pull request."""

import re
from typing import Any

from modelrepo.generator.system.extras import need, version_of
from modelrepo.generator.system.templates import environment
from modelrepo.perf.report import tables, units
from modelrepo.perf.report.plots import Plot
from modelrepo.perf.report.sections import Section, sections
from modelrepo.perf.report.subjects import Subjects
from modelrepo.perf.report.verdict import cautions, verdict
from modelrepo.perf.results.results import Results

# Characters with a meaning in Markdown. An underscore within a word, and a < before a space, have none.
SPECIAL = re.compile(r"[\\`*\[\]|~]|<(?=[\w/!?])|(?<!\w)_|_(?!\w)")
SYMBOLS = {"good": "✓", "bad": "✗", "warn": "!", "quiet": "=", "plain": ""}


def page(results: Results) -> str:
    """Return the HTML page with plotly.js (5 MB) in it, so that it opens without a network."""
    from markupsafe import Markup

    library = need("plotly.offline", "bench").get_plotlyjs()
    # A closing tag ends a script even in its strings and comments.
    script = Markup(library.replace("</script", r"<\/script"))  # noqa: S704 - plotly's own
    found = sections(results)
    return str(
        environment(escaped=True)
        .get_template("report.html.j2")
        .render(
            **_content(results, found), plotly=script, plots=[_drawn(plot) for each in found for plot in each.plots]
        )
    )


def _drawn(plot: Plot) -> dict[str, Any]:
    return {"traces": plot.traces, "layout": plot.layout}


def markdown(results: Results) -> str:
    """Return the tables of the page as Markdown."""
    plain = environment()
    plain.filters["cell"] = _cell
    return str(plain.get_template("report.md.j2").render(**_content(results, sections(results))))


def _content(results: Results, found: tuple[Section, ...]) -> dict[str, Any]:
    """Return the values for both templates."""
    subjects = Subjects.of(results)
    models = dict.fromkeys([*(each.model for each in subjects.known), *(row.model for row in results.in_process)])
    return {
        "title": ", ".join(models) or "no model",
        "created": units.moment(results.created),
        "verdict": verdict(results),
        "cautions": cautions(results),
        "sections": found,
        "environment": tables.environment(results.environment),
        "commands": tables.commands(results, subjects),
        "symbols": SYMBOLS,
        "version": version_of("modelrepo") or "",
    }


def _cell(text: str) -> str:
    """Return a text for a table's cell, with Markdown's characters escaped."""
    return " ".join(SPECIAL.sub(r"\\\g<0>", text).split())
