"""A run of ``bench`` in a terminal: tables, and a plot of a few lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelrepo.generator.system.extras import need
from modelrepo.perf.report import tables, units
from modelrepo.perf.report.subjects import Curve, Subjects, amount, curves
from modelrepo.perf.report.tables import Cell
from modelrepo.perf.report.verdict import Tone
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import InProcess, Measurement, Results

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

HEIGHT = 15
LEAST_WIDTH = 30
# Longer names are folded, so that the figures beside them fit.
LONG_NAME = 24
STYLES: dict[Tone, str] = {"good": "green", "bad": "red", "warn": "yellow", "quiet": "dim", "plain": ""}
# The shapes of curves without colours, one for each subject.
SYMBOLS = "•+x*o#%@"
COLOURS = ("blue", "orange", "green", "magenta", "yellow", "cyan", "gray", "red")


def table(results: Results) -> "Table":
    """Return a table of the measurements for 80 columns: latencies in ms, throughput in samples a second.

    ``note`` says whether the SLO was kept, and whether the figures are unstable; the reasons are below.
    """
    subjects, found = Subjects.of(results), results.measurements
    reasons = dict.fromkeys(_reason(each, subjects) for each in found if each.reason)
    made = _empty(f"latency in ms; SLO {results.slo}" if results.slo else "latency in ms", "\n".join(reasons))
    names = [len(subjects.name(subject)) for subject in subjects.known]
    made.add_column("model", overflow="fold", no_wrap=max(names, default=0) <= LONG_NAME)
    made.add_column(_load_heading(found), justify="left" if _mixed(found) else "right")
    for heading in ("samples/s", "p50", "p90", "p99", "queue", "infer"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("note", min_width=10)
    for each in found:
        cells = (subjects.name(each.subject), _load(each, _mixed(found)), *_figures(each))
        made.add_row(*(_text(Cell(cell)) for cell in cells), _note(each, results.slo))
    return made


def comparisons(results: Results) -> "Group":
    """Return the comparisons, a table for each pair of subjects, and below them why verdicts are unknown."""
    table = _parts(tables.comparisons(results, Subjects.of(results)), names=2)
    if any(each.noise is None for each in results.comparisons):
        table.renderables.append(_text(Cell("Without a measured noise the verdict is unknown.", "warn")))
    return table


def in_process(rows: Sequence[InProcess]) -> "Group":
    """Return a table for each model with the ways to call it, and with two of the latencies."""
    return _parts(tables.in_process(rows), names=1, without=("mean", "p95"))


def _parts(table: tables.Table, names: int, without: tuple[str, ...] = ()) -> "Group":
    """Return a table of the report in parts of 80 columns, with the first ``names`` columns as their titles."""
    from rich.console import Group

    shown = [number for number, heading in enumerate(table.headings) if number >= names and heading not in without]
    parts: dict[str, list[Sequence[Cell]]] = {}
    for row in table.rows:
        parts.setdefault(" / ".join(cell.text for cell in row[:names]), []).append([row[number] for number in shown])
    columns = {table.headings[number]: number in table.words for number in shown}
    return Group(*(_part(title, columns, rows) for title, rows in parts.items()))


def _part(title: str, columns: Mapping[str, bool], rows: Sequence[Sequence[Cell]]) -> "Table":
    """Return a table with a title; in a narrow terminal columns of words are folded, figures never."""
    made = _empty(title)
    for heading, words in columns.items():
        made.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def _empty(title: str, caption: str = "") -> "Table":
    """Return a table without columns, a title above it and a caption below."""
    from rich.table import Table

    return Table(
        title=_text(Cell(title, "quiet")), title_justify="left",
        caption=_text(Cell(caption, "warn")) if caption else None, caption_justify="left",
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip


def _text(cell: Cell) -> "Text":
    """Return a cell as rich's Text: in a plain str rich would read brackets as markup."""
    from rich.text import Text

    return Text(cell.text, STYLES[cell.tone])


def _mixed(found: Sequence[Measurement]) -> bool:
    """Whether loads differ in more than one number."""
    kinds = {(each.load.request_rate is None, each.load.batch_size, each.load.arrivals) for each in found}
    return len(kinds) > 1 or any(each.phase or each.load.batch_size > 1 for each in found)


def _load_heading(found: Sequence[Measurement]) -> str:
    if _mixed(found):
        return "load"
    return "requests/s" if found and found[0].load.request_rate is not None else "concurrency"


def _load(measurement: Measurement, mixed: bool) -> str:
    if not mixed:
        return amount(measurement.load)
    return f"{measurement.phase}: {measurement.load}".removeprefix(": ")


def _figures(measurement: Measurement) -> tuple[str, ...]:
    figures = measurement.figures
    if figures is None:
        return (units.NO_FIGURE,) * 6
    latency, server = figures.latency, figures.server
    times = (latency.p50, latency.p90, latency.p99, server.queue, server.compute_infer)
    return (units.digits(figures.throughput), *(_milliseconds(value) for value in times))


def _milliseconds(microseconds: float) -> str:
    return units.digits(microseconds / 1e3) if microseconds >= 995 else f"{microseconds / 1e3:.2f}"


def _note(measurement: Measurement, slo: Slo | None) -> "Text":
    """Return the note on a measurement."""
    from rich.text import Text

    if measurement.figures is None:
        return _text(Cell("no figures", "bad"))
    limit = tables.kept(measurement, slo)
    cells = [limit] if limit else []
    if not measurement.stable:
        cells.append(Cell("unstable", "warn"))
    if measurement.failed:
        cells.append(Cell(f"{measurement.failed:,} failed", "bad"))
    return Text(", ").join(map(_text, cells))


def _reason(measurement: Measurement, subjects: Subjects) -> str:
    return f"{subjects.name(measurement.subject)}, {_load(measurement, mixed=True)}: {measurement.reason}"


def plot(results: Results, width: int, colour: bool) -> str:
    """Return throughput against latency in at most 15 lines of ``width``; empty if no model has two points.

    The latency is the SLO's percentile, p99 without one. Raises PerfError if plotext is not installed.
    """
    subjects, lines = Subjects.of(results), curves(results.measurements)
    if max((len(curve.points) for curve in lines), default=0) < 2 or width < LEAST_WIDTH:
        return ""
    figure = need("plotext", "bench").figure
    figure.clear()  # there is one for the whole process
    figure.theme("colorless")
    figure.plot_size(width, HEIGHT)
    percentile = results.slo.percentile if results.slo else "p99"
    if results.slo:
        figure.draw(_limit(figure, lines, results.slo))
    for curve in lines:  # over the limit's line
        figure.draw(_signal(figure, curve, percentile, subjects, colour))
    for axis in ("x", "y"):  # from 0, so that a difference of a few percent looks small
        figure.ruler(axis).lim(0, None)
    figure.label("samples/s", "x")
    figure.label(f"{'mean' if percentile == 'avg' else percentile} ms", "y")
    drawn = str(figure.build())
    plain = drawn if colour else need("plotext", "bench").uncolorize(drawn)
    return "\n".join(line.rstrip() for line in plain.splitlines())


def _limit(figure: Any, lines: Sequence[Curve], slo: Slo) -> Any:
    """Return the SLO as a signal: plotext's own lines are white bars in any colour."""
    seen = [each.figures.throughput for curve in lines for each in curve.points if each.figures]
    signal = figure.signal([min(seen), max(seen)], [slo.limit_us / 1e3] * 2, marker="─")
    signal.lines()
    signal.label(str(slo))
    return signal


def _signal(figure: Any, curve: Curve, percentile: str, subjects: Subjects, colour: bool) -> Any:
    """Return a curve as plotext draws it; without colours its points have a shape of their own."""
    points = [each.figures for each in curve.points if each.figures]
    xs, ys = [each.throughput for each in points], [getattr(each.latency, percentile) / 1e3 for each in points]
    number = subjects.colour(curve.subject)
    marker = need("plotext", "bench").marker("hd", COLOURS[number]) if colour else SYMBOLS[number]
    signal = figure.signal(xs, ys, marker=marker)
    signal.lines()
    signal.label(subjects.name(curve.subject) + curve.suffix())
    return signal
