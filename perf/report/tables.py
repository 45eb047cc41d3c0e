"""The tables of a report as text, for the page and for its Markdown."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.perf.measuring.machine import STEAL
from modelrepo.perf.measuring.summary import keeps
from modelrepo.perf.report import units
from modelrepo.perf.report.subjects import Subjects
from modelrepo.perf.report.verdict import METRICS, TONES, Tone
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import Gauge, InProcess, Measurement, Results

VERDICTS = {"better": "▲ better", "worse": "▼ worse", "noise": "= noise", "unknown": "? unknown"}
LATENCIES = {"avg": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
PARTS = (
    ("client send", "client", "send"),
    ("network", "client", "network"),
    ("queue", "server", "queue"),
    ("compute input", "server", "compute_input"),
    ("compute infer", "server", "compute_infer"),
    ("compute output", "server", "compute_output"),
    ("client receive", "client", "receive"),
)
GAUGES = {
    "nv_cpu_utilization": ("host CPU (Triton)", units.share),
    "nv_cpu_memory_used_bytes": ("host memory", units.size),
    "nv_gpu_utilization": ("GPU", units.share),
    "nv_gpu_memory_used_bytes": ("GPU memory", units.size),
    "nv_gpu_power_usage": ("GPU power", lambda watts: f"{units.digits(watts)} W"),
    "nv_pinned_memory_pool_used_bytes": ("pinned memory", units.size),
}


@dataclass(frozen=True)
class Cell:
    """A text in a table, its tone, and the number of a colour before it."""

    text: str
    tone: Tone = "plain"
    colour: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows under headings; the columns with a number in ``words`` are text, the others figures."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: tuple[int, ...] = (0,)


def _table(headings: Sequence[str], rows: Iterator[Sequence[Cell | str]], words: tuple[int, ...] = (0, 1)) -> Table:
    cells = tuple(tuple(each if isinstance(each, Cell) else Cell(each) for each in row) for row in rows)
    return Table(tuple(headings), cells, words)


def _who(measurement: Measurement, subjects: Subjects) -> tuple[Cell, str]:
    phase = f"{measurement.phase}: " if measurement.phase else ""
    subject = measurement.subject
    return Cell(subjects.name(subject), colour=subjects.colour(subject)), f"{phase}{measurement.load}"


def measurements(results: Results, subjects: Subjects) -> Table:
    """Return the table of measurements: throughput, latencies, counts, and whether they are stable."""
    judged = any(kept(each, results.slo) for each in results.measurements)
    slo = ("SLO",) if judged else ()
    headings = ("model", "load", "state", "samples/s", *LATENCIES.values(), "requests", "failed", *slo, "remarks")

    def row(each: Measurement) -> tuple[Cell | str, ...]:
        failed = Cell(f"{each.failed:,}", "bad" if each.failed else "quiet")
        limit = (kept(each, results.slo) or units.NO_FIGURE,) if judged else ()
        return (*_who(each, subjects), _state(each), *_figures(each), failed, *limit, _remarks(each))

    return _table(headings, map(row, results.measurements), (0, 1, 2, len(headings) - 1))


def _state(measurement: Measurement) -> Cell:
    if measurement.figures is None:
        return Cell("no figures", "bad")
    return Cell("stable", "quiet") if measurement.stable else Cell("unstable", "warn")


def _figures(measurement: Measurement) -> tuple[str, ...]:
    """Return throughput, LATENCIES and the number of requests."""
    figures = measurement.figures
    if figures is None:
        return (units.NO_FIGURE,) * (len(LATENCIES) + 2)
    times = (units.duration(getattr(figures.latency, name)) for name in LATENCIES)
    return (units.digits(figures.throughput), *times, f"{figures.requests:,}")


def kept(measurement: Measurement, slo: Slo | None) -> Cell | None:
    """Return a cell that says whether a measurement keeps the limit; None if it is not judged.

    Phases of a load test are judged by their scenario, and not all of them.
    """
    if slo is None or measurement.phase or measurement.figures is None:
        return None
    return Cell("kept", "good") if keeps(measurement, slo) else Cell("broken", "bad")


def _remarks(measurement: Measurement) -> Cell:
    """Return the reason for a measurement's state, and other remarks."""
    figures, found = measurement.figures, []
    if figures is None:
        return Cell(measurement.reason, "bad")
    if measurement.reason:
        found.append(measurement.reason)
    if figures.delayed:
        found.append(f"{units.share(figures.delayed)} of requests sent late")
    if measurement.discarded:
        found.append(f"{measurement.discarded} disturbed run{'s' * (measurement.discarded > 1)} repeated")
    return Cell("; ".join(found), "quiet" if measurement.stable else "warn")


def times(measured: Sequence[Measurement], subjects: Subjects) -> Table:
    """Return the table of the parts of the mean request's time."""

    def row(each: Measurement) -> tuple[Cell | str, ...]:
        return (*_who(each, subjects), *(units.duration(value) for value in parts(each)))

    return _table(("model", "load", *(name for name, _, _ in PARTS)), map(row, measured))


def parts(measurement: Measurement) -> tuple[float, ...]:
    """Return the microseconds of PARTS, empty without figures."""
    if measurement.figures is None:
        return ()
    return tuple(float(getattr(getattr(measurement.figures, side), name)) for _, side, name in PARTS)


def batches(measured: Sequence[Measurement], subjects: Subjects) -> Table:
    """Return the table of the batches that Triton executed, by size."""

    def row(each: Measurement) -> tuple[Cell | str, ...]:
        total = sum(each.batches.values())
        mean = sum(size * count for size, count in each.batches.items()) / total
        listed = ", ".join(f"{size}: {100 * count / total:.0f} %" for size, count in sorted(each.batches.items()))
        return (*_who(each, subjects), f"{total:,}", units.digits(mean), listed)

    return _table(("model", "load", "executions", "mean batch", "share of executions by batch"), map(row, measured),
                  (0, 1, 4))  # fmt: skip


def comparisons(results: Results, subjects: Subjects) -> Table:
    """Return the table of every subject against the baseline, with the noise measured at the same time."""
    rows = (
        (
            Cell(subjects.name(each.subject), colour=subjects.colour(each.subject)),
            Cell(subjects.name(each.baseline), colour=subjects.colour(each.baseline)),
            str(each.load),
            METRICS[each.metric],
            units.ratio(each.ratio),
            units.ratio(each.noise),
            Cell(VERDICTS[each.verdict] + ("" if each.stable else " (unstable)"), TONES[each.verdict]),
        )
        for each in results.comparisons
    )
    headings = ("model", "against", "load", "figure", "ratio (95 % interval)", "A/A noise", "verdict")
    return _table(headings, rows, (0, 1, 2, 3, 6))


def in_process(rows: Sequence[InProcess]) -> Table:
    """Return the table of models in their source framework, in ONNX Runtime, and served."""
    found = (
        (
            *(row.model, row.framework, str(row.batch_size)),
            *(units.duration(value) for value in (row.mean, row.p50, row.p95, row.p99)),
            units.digits(row.throughput),
            units.NO_FIGURE if row.memory_bytes is None else units.size(row.memory_bytes),
            units.ratio(row.speed_up),
        )
        for row in rows
    )
    names = ("model", "framework", "batch", "mean", "p50", "p95", "p99", "samples/s", "memory", "speed-up (95 %)")
    return _table(names, found)


def machine(results: Results, subjects: Subjects) -> Table:
    """Return the table of this machine's load and Triton's metrics during each measurement."""
    names = list(dict.fromkeys(name for each in results.measurements for name in each.metrics))

    def row(each: Measurement) -> tuple[Cell | str, ...]:
        steal = Cell(units.share(each.machine.steal), "warn" if each.machine.steal > STEAL else "plain")
        own = (units.share(each.machine.busy), steal, units.digits(each.machine.load_average))
        return (*_who(each, subjects), *own, *(_gauge(name, each.metrics.get(name)) for name in names))

    headings = ("model", "load", "CPU busy here", "stolen", "load average", *map(_gauge_name, names))
    return _table(headings, map(row, results.measurements))


def _gauge_name(name: str) -> str:
    """Return the name of a metric and its device."""
    base, _, device = name.partition("{")
    known = GAUGES[base][0] if base in GAUGES else base
    return f"{known} {device.rstrip('}')[:12]}".rstrip()


def _gauge(name: str, gauge: Gauge | None) -> str:
    if gauge is None:
        return units.NO_FIGURE
    written: Callable[[float], str] = GAUGES.get(name.partition("{")[0], ("", units.digits))[1]
    return f"{written(gauge.mean)} (at most {written(gauge.most)})"


def environment(given: Mapping[str, Any]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return groups of names and values; values outside a group are in one without a name."""
    loose = {key: value for key, value in given.items() if not isinstance(value, Mapping)}
    groups = [("", loose), *((_spoken(key), value) for key, value in given.items() if key not in loose)]
    return tuple((name, tuple(_flat(value))) for name, value in groups if value)


def _spoken(key: object) -> str:
    return re.sub(r"_(bytes|percent)$", "", str(key)).replace("_", " ")


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{_spoken(key)}: ")
        else:
            yield f"{prefix}{_spoken(key)}", _plain(str(key), value)


def _plain(key: str, value: Any) -> str:
    if value is None or value == "":
        return units.NO_FIGURE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain("", each) for each in value) or units.NO_FIGURE
    if isinstance(value, int | float) and key.endswith("_bytes"):
        return units.size(value)
    return f"{value:g} %" if isinstance(value, int | float) and key.endswith("_percent") else str(value)


def commands(results: Results, subjects: Subjects) -> tuple[tuple[str, str], ...]:
    """Return each command once, with the measurement it belongs to."""
    found: dict[str, str] = {}
    for each in results.measurements:
        who, load = _who(each, subjects)
        for command in each.commands:
            found.setdefault(command, f"{who.text}, {load}")
    return tuple((title, command) for command, title in found.items())
