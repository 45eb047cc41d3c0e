"""The sections of a report, in order: the page shows their plots and tables, the Markdown their tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelrepo.perf.report import plots, tables
from modelrepo.perf.report.plots import Plot
from modelrepo.perf.report.subjects import Curve, Subjects, curves
from modelrepo.perf.report.tables import PARTS, Table
from modelrepo.perf.results.results import Results


@dataclass(frozen=True)
class Section:
    """A part of a report; ``folded`` tables repeat the plots, ``legend`` has the names of the parts' colours."""

    key: str
    title: str
    note: str
    plots: tuple[Plot, ...] = ()
    table: Table | None = None
    folded: bool = False
    legend: tuple[str, ...] = ()


def sections(results: Results) -> tuple[Section, ...]:
    """Return the sections that have content."""
    subjects, lines = Subjects.of(results), curves(results.measurements)
    made = (make(results, subjects, lines) for make in MAKERS)
    return tuple(section for section in made if section is not None)


def _throughput(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not lines:
        return None
    percentile = "p99" if results.slo is None else "mean" if results.slo.percentile == "avg" else results.slo.percentile
    kinds = dict.fromkeys(curve.axis for curve in lines)
    note = f"Each point is a load, labelled by its {' or '.join(kinds)}; further right and lower is better."
    if any(not point.stable for curve in lines for point in curve.points):
        note += " Hollow points are unstable."
    return Section(
        "throughput", f"Throughput and {percentile} latency", note, (plots.throughput(lines, subjects, results.slo),)
    )


def _percentiles(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not lines:
        return None
    note = "The time that a client waits for a request. All axes are the same."
    return Section("latency", "Latency by load", note, plots.percentiles(lines, subjects, results.slo))


def _times(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    measured = [each for each in results.measurements if each.figures]
    if not measured:
        return None
    note = (
        "The mean request, from the client's call to its answer. Queue and compute are Triton's own figures; network "
        "is everything between the client and these, including the server's transport. Axes differ."
    )
    names = tuple(name for name, _, _ in PARTS)
    return Section(
        key="time",
        title="Where the time goes",
        note=note,
        plots=plots.times(lines, subjects),
        table=tables.times(measured, subjects),
        folded=bool(lines),
        legend=names if lines else (),
    )


def _batches(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    measured = [each for each in results.measurements if each.batches]
    if not measured:
        return None
    note = "The batches that Triton executed, from its statistics: the work of the dynamic batcher."
    drawn = plots.batches(lines, subjects)
    return Section("batches", "Batches", note, drawn, tables.batches(measured, subjects), folded=bool(drawn))


def _comparisons(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not results.comparisons:
        return None
    note = (
        "Ratios over rounds in which both took turns. Noise (grey) is the baseline's difference from itself, measured "
        "twice in every round. A difference counts only if its interval excludes 1 and it is beyond the noise."
    )
    drawn = plots.comparisons(results.comparisons, subjects)
    return Section("comparison", "Comparison", note, drawn, tables.comparisons(results, subjects))


def _timeline(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    phases = [each for each in results.measurements if each.phase]
    if not any(each.figures for each in phases):
        return None
    description = results.scenario.description if results.scenario else ""
    note = f"{description.rstrip('.')}. Phases in the order in which they ran.".removeprefix(". ")
    return Section("timeline", "Load test", note, (plots.timeline(phases, subjects, results.slo),))


def _in_process(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not results.in_process:
        return None
    note = (
        "The same samples in each way, one call at a time, in turns. Speed-up is over the first way, by median "
        "latency. Memory is the peak resident memory of the process; for the served model it is the memory of the "
        "server's processes."
    )
    drawn = plots.in_process(results.in_process)
    return Section("frameworks", "What conversion bought", note, drawn, tables.in_process(results.in_process))


def _measurements(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not results.measurements:
        return None
    runs = max(len(each.repeats) for each in results.measurements)
    over = f"Medians of up to {runs} runs. " if runs > 1 else ""
    note = f"{over}Throughput counts samples a second; latency is the time that a client waits for a request."
    return Section("measurements", "Measurements", note, table=tables.measurements(results, subjects))


def _machine(results: Results, subjects: Subjects, lines: Sequence[Curve]) -> Section | None:
    if not results.measurements:
        return None
    note = (
        "CPU, stolen time and load average are the highest of the machine that measured; the others come from Triton's "
        "metrics. Stolen time went to other guests of the same host, and falsifies figures."
    )
    return Section("machine", "Machine load", note, table=tables.machine(results, subjects))


Maker = Callable[[Results, Subjects, Sequence[Curve]], Section | None]
MAKERS: tuple[Maker, ...] = (
    *(_throughput, _timeline, _comparisons, _in_process, _measurements),
    *(_percentiles, _times, _batches, _machine),
)
