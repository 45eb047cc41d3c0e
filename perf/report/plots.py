"""The plots of a report, as plain data for plotly.js.

A colour is an @ and the name of a CSS variable of the page, which has values for light and dark.
"""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.perf.report import units
from modelrepo.perf.report.subjects import COLOURS, Curve, Subjects, amount
from modelrepo.perf.report.tables import PARTS, parts
from modelrepo.perf.report.verdict import METRICS, TONES
from modelrepo.perf.results.compare import floor
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import Comparison, InProcess, Measurement

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "x")
PERCENTILES = (("p50", "solid"), ("p90", "dash"), ("p95", "dashdot"), ("p99", "dot"))
# Beyond this ratio of the largest to the smallest a linear axis hides the small ones.
LOGARITHMIC = 25
# More labels than this hide each other; hovering still shows them.
MOST_LABELS = 60


@dataclass(frozen=True)
class Plot:
    """A plot: its title, the number of its subject's colour if it has one, and plotly.js's data."""

    title: str
    traces: tuple[dict[str, Any], ...]
    layout: dict[str, Any]
    height: int = 300
    colour: int | None = None
    wide: bool = False


@dataclass(frozen=True)
class Axis:
    """A latency axis: the divisor of microseconds, its unit, and its layout, linear or logarithmic."""

    divisor: float
    unit: str
    layout: dict[str, Any]

    @classmethod
    def of(cls, microseconds: Sequence[float], title: str, slo: Slo | None) -> "Axis":
        """Return an axis for these latencies and the limit."""
        known = [value for value in (*microseconds, *([slo.limit_us] if slo else ())) if 0 < value < math.inf]
        most, least = max(known, default=1.0), min(known, default=1.0)
        divisor, unit = (1.0, "µs") if most < 1e3 else (1e3, "ms") if most < 1e7 else (1e6, "s")
        named = {"title": {"text": f"{title}, {unit}"}}
        if most / least <= LOGARITHMIC:
            return cls(divisor, unit, {**named, "range": [0, 1.12 * most / divisor]})
        bounds = [math.log10(least / divisor / 1.3), math.log10(most / divisor * 1.3)]
        return cls(divisor, unit, {**named, "type": "log", "range": bounds, "dtick": "D2", "tickformat": "~r"})

    def limit(self, slo: Slo | None) -> dict[str, Any]:
        """Return the layout of the limit as a line with its name."""
        if slo is None:
            return {}
        height = slo.limit_us / self.divisor
        line = {"color": "@ink", "width": 1.5, "dash": "dash"}
        shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height, "line": line}
        name = {
            "text": html.escape(f"{slo}"), "xref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom",
            "y": math.log10(height) if "type" in self.layout else height, "showarrow": False,
            "font": {"color": "@ink", "size": 12},
        }  # fmt: skip
        return {"shapes": [shape], "annotations": [name]}


def _colour(number: int) -> str:
    return f"@s{number % COLOURS}"


def _latency(measurement: Measurement, percentile: str) -> float:
    return float(getattr(measurement.figures.latency, percentile)) if measurement.figures else math.nan


def _throughput(measurement: Measurement) -> float:
    return measurement.figures.throughput if measurement.figures else math.nan


def _name(curve: Curve, subjects: Subjects) -> str:
    return html.escape(subjects.name(curve.subject) + curve.suffix())


def _hover_text(measurement: Measurement, name: str) -> str:
    """Return the text for hovering over a point."""
    figures = measurement.figures
    lines = [f"<b>{name}</b>", html.escape(f"{measurement.phase}: {measurement.load}".removeprefix(": "))]
    if figures:
        seen = [each.throughput for each in measurement.repeats] or [figures.throughput]
        between = f" ({units.digits(min(seen))} to {units.digits(max(seen))} in {len(seen)} runs)"
        lines.append(f"{units.digits(figures.throughput)} /s{between if len(seen) > 1 else ''}")
        latency = figures.latency
        lines += [f"{each} {units.duration(getattr(latency, each))}" for each in ("p50", "p90", "p95", "p99")]
    if not measurement.stable:
        lines.append(f"unstable: {html.escape(measurement.reason)}")
    return "<br>".join(lines)


def throughput(curves: Sequence[Curve], subjects: Subjects, slo: Slo | None) -> Plot:
    """Return throughput against latency, a line a curve, with points labelled by load; hollow points are unstable."""
    percentile = slo.percentile if slo else "p99"
    points = [each for curve in curves for each in curve.points]
    axis = Axis.of([_latency(each, percentile) for each in points], f"{_called(percentile)} latency", slo)
    labelled = len(points) <= MOST_LABELS
    sizes = list(dict.fromkeys((curve.batch_size, curve.arrivals) for curve in curves))
    traces = tuple(
        {
            "type": "scatter",
            "mode": "lines+markers+text" if labelled else "lines+markers",
            "name": _name(curve, subjects),
            "x": [_throughput(each) for each in curve.points],
            "y": [_latency(each, percentile) / axis.divisor for each in curve.points],
            "text": [amount(each.load) for each in curve.points],
            "textposition": "top left",
            "textfont": {"color": "@muted", "size": 11},
            "hovertext": [_hover_text(each, _name(curve, subjects)) for each in curve.points],
            "hoverinfo": "text",
            "line": {"color": _colour(subjects.colour(curve.subject)), "width": 2, "dash": DASHES[style % 6]},
            "marker": {"size": 9, "symbol": _symbols(curve, style)},
        }
        for curve in curves
        for style in (sizes.index((curve.batch_size, curve.arrivals)),)
    )
    most = max((_throughput(each) for each in points), default=1.0)
    layout = {
        "xaxis": {"title": {"text": "throughput, samples per second"}, "range": [0, 1.06 * most]},
        "yaxis": axis.layout,
        "showlegend": True,
        **axis.limit(slo),
    }
    return Plot("", traces, layout, height=460, wide=True)


def _called(percentile: str) -> str:
    return "mean" if percentile == "avg" else percentile


def _symbols(curve: Curve, style: int) -> list[str]:
    symbol = SYMBOLS[style % len(SYMBOLS)]
    return [symbol if each.stable else f"{symbol}-open" for each in curve.points]


def _amounts(curve: Curve) -> list[str]:
    return [amount(each.load) for each in curve.points]


def _by_load(curve: Curve) -> dict[str, Any]:
    return {"type": "category", "title": {"text": curve.axis}, "showgrid": False}


def percentiles(curves: Sequence[Curve], subjects: Subjects, slo: Slo | None) -> tuple[Plot, ...]:
    """Return latency percentiles by load: a plot a curve, all with the same axis."""
    names = [name for name, _ in PERCENTILES] + (["avg"] if slo and slo.percentile == "avg" else [])
    seen = [_latency(each, name) for curve in curves for each in curve.points for name in names]
    axis = Axis.of(seen, "latency", slo)
    return tuple(
        Plot(
            subjects.name(curve.subject) + curve.suffix(),
            tuple(_percentile(curve, name, dash, axis, subjects) for name, dash in PERCENTILES),
            {"xaxis": _by_load(curve), "yaxis": axis.layout, **axis.limit(slo)},
            colour=subjects.colour(curve.subject),
        )
        for curve in curves
    )


def _percentile(curve: Curve, name: str, dash: str, axis: Axis, subjects: Subjects) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": _amounts(curve),
        "y": [_latency(each, name) / axis.divisor for each in curve.points],
        "hovertext": [f"{name} {units.duration(_latency(each, name))} at {each.load}" for each in curve.points],
        "hoverinfo": "text",
        "line": {"color": _colour(subjects.colour(curve.subject)), "width": 2, "dash": dash},
        "marker": {"size": 5},
    }


def times(curves: Sequence[Curve], subjects: Subjects) -> tuple[Plot, ...]:
    """Return the parts of the mean request's time by load: a plot a curve, each with an axis of its own."""
    return tuple(_times(curve, subjects) for curve in curves)


def _times(curve: Curve, subjects: Subjects) -> Plot:
    values = [parts(each) for each in curve.points]
    axis = Axis.of([max(sum(each) for each in values)], "mean latency", None)
    traces = tuple(
        {
            "type": "bar",
            "name": name,
            "x": _amounts(curve),
            "y": [each[number] / axis.divisor for each in values],
            "hovertext": [f"{name}: {units.duration(each[number])} of {units.duration(sum(each))}" for each in values],
            "hoverinfo": "text",
            "marker": {"color": f"@p{number}", "line": {"width": 0}},
        }
        for number, (name, _, _) in enumerate(PARTS)
    )
    layout = {"xaxis": _by_load(curve), "yaxis": axis.layout, "barmode": "stack", "bargap": 0.3, "showlegend": False}
    return Plot(subjects.name(curve.subject) + curve.suffix(), traces, layout, colour=subjects.colour(curve.subject))


def batches(curves: Sequence[Curve], subjects: Subjects) -> tuple[Plot, ...]:
    """Return the sizes of Triton's batches: a histogram for one load, or a column of shares for each of several."""
    return tuple(
        _histogram(curve, shown[0], subjects) if len(shown) == 1 else _histograms(curve, shown, subjects)
        for curve in curves
        for shown in ([each for each in curve.points if each.batches],)
        if shown
    )


def _histogram(curve: Curve, measurement: Measurement, subjects: Subjects) -> Plot:
    counts = dict(sorted(measurement.batches.items()))
    total, colour = sum(counts.values()), subjects.colour(curve.subject)
    trace = {
        "type": "bar",
        "x": [str(size) for size in counts],
        "y": [100 * count / total for count in counts.values()],
        "hovertext": [f"batch {size}: {count:,} of {total:,} executions" for size, count in counts.items()],
        "hoverinfo": "text",
        "marker": {"color": _colour(colour)},
    }
    layout = {
        "xaxis": {"type": "category", "showgrid": False, "title": {"text": f"batch size at {measurement.load}"}},
        "yaxis": {"title": {"text": "executions, %"}, "range": [0, 105]},
        "bargap": 0.3,
    }
    return Plot(subjects.name(curve.subject) + curve.suffix(), (trace,), layout, colour=colour)


def _histograms(curve: Curve, shown: Sequence[Measurement], subjects: Subjects) -> Plot:
    sizes = sorted({size for each in shown for size in each.batches})
    shares = [[100 * each.batches.get(size, 0) / sum(each.batches.values()) for each in shown] for size in sizes]
    colour = subjects.colour(curve.subject)
    trace = {
        "type": "heatmap",
        "x": [amount(each.load) for each in shown],
        "y": [str(size) for size in sizes],
        "z": shares,
        "text": [[f"{value:.0f} %" if value >= 0.5 else "" for value in row] for row in shares],
        "texttemplate": "%{text}",
        "hovertext": [
            [f"batch {size}: {each.batches.get(size, 0):,} executions at {each.load}" for each in shown]
            for size in sizes
        ],
        "hoverinfo": "text",
        "zmin": 0, "zmax": 160, "textfont": {"color": "@ink"}, "xgap": 2, "ygap": 2, "showscale": False,
        "colorscale": [[0, "@panel"], [1, _colour(colour)]],
    }  # fmt: skip
    layout = {
        "xaxis": _by_load(curve),
        "yaxis": {"type": "category", "title": {"text": "batch size"}, "showgrid": False},
    }
    height = max(260, 130 + 24 * len(sizes))
    return Plot(subjects.name(curve.subject) + curve.suffix(), (trace,), layout, height, colour)


def comparisons(found: Sequence[Comparison], subjects: Subjects) -> tuple[Plot, ...]:
    """Return ratios with their intervals over the noise, a plot a metric."""
    shown = [each for each in found if each.ratio]
    metrics = dict.fromkeys(each.metric for each in shown)
    return tuple(_forest([each for each in shown if each.metric == metric], subjects) for metric in metrics)


def _forest(found: Sequence[Comparison], subjects: Subjects) -> Plot:
    names = [f"{html.escape(subjects.name(each.subject))}<br>{each.load}" for each in found]
    tones = [f"@{TONES[each.verdict]}" for each in found]
    ratios = [each.ratio for each in found if each.ratio]
    noisy = [(name, each.noise) for name, each in zip(names, found, strict=True) if each.noise]
    floors = [floor(noise) for _, noise in noisy]
    noise = {
        "type": "bar", "orientation": "h", "name": "noise", "y": [name for name, _ in noisy],
        "base": [1 / bound for bound in floors], "x": [bound - 1 / bound for bound in floors], "width": 0.55,
        "marker": {"color": "@noise"}, "hoverinfo": "text",
        "hovertext": [f"noise: {1 / bound:.3f} to {bound:.3f}" for bound in floors],
    }  # fmt: skip
    own = {
        "type": "scatter", "mode": "markers", "name": "ratio, 95 %", "y": names,
        "x": [ratio.value for ratio in ratios], "marker": {"size": 10, "color": tones}, "hoverinfo": "text",
        "hovertext": [f"{units.ratio(ratio)}: {each.verdict}" for ratio, each in zip(ratios, found, strict=True)],
        "error_x": {
            "type": "data", "symmetric": False, "array": [ratio.high - ratio.value for ratio in ratios],
            "arrayminus": [ratio.value - ratio.low for ratio in ratios], "color": "@muted", "thickness": 2, "width": 5,
        },
    }  # fmt: skip
    one = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 1, "x1": 1, "line": {"color": "@ink", "width": 1}}
    layout = {
        "xaxis": {"title": {"text": f"ratio to {html.escape(subjects.name(found[0].baseline))}"}},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        "shapes": [one],
    }
    return Plot(METRICS[found[0].metric], (noise, own), layout, height=150 + 44 * len(found))


def timeline(measurements: Sequence[Measurement], subjects: Subjects, slo: Slo | None) -> Plot:
    """Return a load test phase by phase: throughput above, latency below."""
    percentile = slo.percentile if slo else "p99"
    shown = [each for each in measurements if each.figures]
    # p50 is drawn beside the percentile.
    axis = Axis.of([_latency(each, name) for each in shown for name in ("p50", percentile)], "latency", slo)
    traces = tuple(
        trace
        for subject in dict.fromkeys(each.subject for each in shown)
        for trace in _played([each for each in shown if each.subject == subject], percentile, axis, subjects)
    )
    phases = list(dict.fromkeys(html.escape(each.phase) for each in measurements))
    limit = axis.limit(slo)
    for drawn in (*limit.get("shapes", ()), *limit.get("annotations", ())):
        drawn["yref"] = "y2"
    layout = {
        "xaxis": {
            "type": "category", "showgrid": False, "categoryarray": phases, "anchor": "y2",
            "range": [-0.5, len(phases) - 0.5],
        },
        "yaxis": {"title": {"text": "samples per second"}, "domain": [0.58, 1], "rangemode": "tozero"},
        "yaxis2": {**axis.layout, "domain": [0, 0.5]},
        "barmode": "group", "bargap": 0.35, **limit,
    }  # fmt: skip
    return Plot("", traces, layout, height=560, wide=True)


def _played(own: Sequence[Measurement], percentile: str, axis: Axis, subjects: Subjects) -> Iterator[dict[str, Any]]:
    name, colour = html.escape(subjects.name(own[0].subject)), _colour(subjects.colour(own[0].subject))
    shared = {
        "x": [html.escape(each.phase) for each in own],
        "hovertext": [_hover_text(each, name) for each in own],
        "hoverinfo": "text",
    }
    yield {"type": "bar", "name": f"{name}: throughput", "y": [_throughput(each) for each in own],
           "marker": {"color": colour}, **shared}  # fmt: skip
    for each, dash in dict.fromkeys((("p50", "dot"), (percentile, "solid"))):
        yield {
            "type": "scatter", "mode": "lines+markers", "name": f"{name}: {_called(each)}", "yaxis": "y2",
            "y": [_latency(one, each) / axis.divisor for one in own],
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"size": 7, "symbol": ["circle" if one.stable else "circle-open" for one in own]}, **shared,
        }  # fmt: skip


def in_process(rows: Sequence[InProcess]) -> tuple[Plot, ...]:
    """Return throughput by batch size of each way to call a model: a plot a model, a colour a way."""
    ways = list(dict.fromkeys(row.framework for row in rows))
    return tuple(_ways([row for row in rows if row.model == model], ways) for model in dict.fromkeys(
        row.model for row in rows
    ))  # fmt: skip


def _ways(rows: Sequence[InProcess], ways: Sequence[str]) -> Plot:
    traces = tuple(
        {
            "type": "bar",
            "name": html.escape(way),
            "x": [str(row.batch_size) for row in own],
            "y": [row.throughput for row in own],
            "text": [units.factor(row.speed_up.value) if row.speed_up else "" for row in own],
            "textposition": "outside",
            "cliponaxis": False,
            "hovertext": [f"{html.escape(way)}: mean {units.duration(row.mean)}, p99 {units.duration(row.p99)}"
                          for row in own],
            "hoverinfo": "text",
            "marker": {"color": _colour(number)},
        }
        for number, way in enumerate(ways)
        for own in ([row for row in rows if row.framework == way],)
        if own
    )  # fmt: skip
    layout = {
        "xaxis": {"type": "category", "showgrid": False, "title": {"text": "batch size"}},
        "yaxis": {"title": {"text": "samples per second"}},
        "barmode": "group",
        "bargap": 0.25,
    }
    return Plot(rows[0].model, traces, layout, height=340)
