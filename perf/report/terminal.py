"""A run of ``bench`` in a terminal: a table, and a plot of a few lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from generator.extras import need
from perf.loads import Slo
from perf.report import units
from perf.report.subjects import Curve, Subjects, amount, curves
from perf.results import Measurement, Results
from perf.summary import keeps

if TYPE_CHECKING:
    from rich.table import Table

HEIGHT = 15
LEAST_WIDTH = 30
# Longer names are folded, so that the figures beside them can be seen.
LONG_NAME = 24
STYLES = {"unstable": "yellow", "over": "red", "no figures": "red", "kept": "green"}
# Without colours, which are one for each subject, other letters tell curves apart.
SYMBOLS = "•+x*o#%@"
COLOURS = ("blue", "orange", "green", "magenta", "yellow", "cyan", "gray", "red")


def table(results: Results) -> "Table":
    """Return a table of the measurements for 80 columns: latencies in ms, throughput in samples a second.

    ``note`` says whether the SLO was kept, and what is unstable; the reasons stand below.
    """
    from rich.table import Table

    subjects, found = Subjects.of(results), results.measurements
    title = f"latency in ms; SLO {results.slo}" if results.slo else "latency in ms"
    made = Table(
        title=title, title_justify="left", title_style="dim", caption_justify="left", caption_style="yellow",
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip
    names = [len(subjects.name(subject)) for subject in subjects.known]
    made.add_column("model", overflow="fold", no_wrap=max(names, default=0) <= LONG_NAME)
    made.add_column(_load_heading(found), justify="left" if _mixed(found) else "right")
    for heading in ("samples/s", "p50", "p90", "p99", "queue", "infer"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("note", min_width=10)
    for each in found:
        load = _load(each, _mixed(found))
        made.add_row(_text(subjects.name(each.subject)), _text(load), *_figures(each), _note(each, results))
    reasons = dict.fromkeys(_reason(each, subjects) for each in found if each.reason)
    if reasons:
        made.caption = _text("\n".join(reasons))
    return made


def _text(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _mixed(found: Sequence[Measurement]) -> bool:
    """Tell whether loads differ in more than one number."""
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
        return (units.NOTHING,) * 6
    latency, server = figures.latency, figures.server
    times = (latency.p50, latency.p90, latency.p99, server.queue, server.compute_infer)
    return (units.digits(figures.throughput), *(_milliseconds(value) for value in times))


def _milliseconds(microseconds: float) -> str:
    return units.digits(microseconds / 1e3) if microseconds >= 995 else f"{microseconds / 1e3:.2f}"


def _note(measurement: Measurement, results: Results) -> str:
    """Return what is to be said of a measurement, as rich markup."""
    if measurement.figures is None:
        words = ["no figures"]
    else:
        limit = [("kept" if keeps(measurement, results.slo) else "over")] if results.slo else []
        words = [*limit, *([] if measurement.stable else ["unstable"])]
        if measurement.failed:
            words.append(f"{measurement.failed:,} failed")
    return ", ".join(f"[{STYLES.get(word, 'red')}]{word}[/]" for word in words)


def _reason(measurement: Measurement, subjects: Subjects) -> str:
    return f"{subjects.name(measurement.subject)}, {_load(measurement, mixed=True)}: {measurement.reason}"


def plot(results: Results, width: int, colour: bool) -> str:
    """Return throughput against latency in at most 15 lines of ``width``; empty for fewer than two points.

    The latency is the SLO's percentile, p99 without one. Raises PerfError where plotext is not installed.
    """
    subjects, lines = Subjects.of(results), curves(results.measurements)
    if sum(len(curve.points) for curve in lines) < 2 or width < LEAST_WIDTH:
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
    figure.label("samples/s", "x")
    figure.label(f"{'mean' if percentile == 'avg' else percentile} ms", "y")
    drawn = str(figure.build())
    plain = drawn if colour else need("plotext", "bench").uncolorize(drawn)
    return "\n".join(line.rstrip() for line in plain.splitlines())


def _limit(figure: Any, lines: Sequence[Curve], slo: Slo) -> Any:
    """Return the SLO as plotext draws it: its own lines are white bars in any colour."""
    seen = [each.figures.throughput for curve in lines for each in curve.points if each.figures]
    signal = figure.signal([min(seen), max(seen)], [slo.limit_us / 1e3] * 2, marker="─")
    signal.lines()
    signal.label(str(slo))
    return signal


def _signal(figure: Any, curve: Curve, percentile: str, subjects: Subjects, colour: bool) -> Any:
    """Return a curve as plotext draws it; without colours the shape of its points tells it from others."""
    points = [each.figures for each in curve.points if each.figures]
    xs, ys = [each.throughput for each in points], [getattr(each.latency, percentile) / 1e3 for each in points]
    number = subjects.colour(curve.subject)
    marker = need("plotext", "bench").marker("hd", COLOURS[number]) if colour else SYMBOLS[number]
    signal = figure.signal(xs, ys, marker=marker)
    signal.lines()
    signal.label(subjects.name(curve.subject) + curve.suffix())
    return signal
