"""Measurements from runs: medians, whether they are stable, and whether they keep a limit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from statistics import fmean, median
from typing import TypeVar

from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import (
    AnalyzerRun,
    ClientTime,
    Figures,
    Gauge,
    Latency,
    MachineLoad,
    Measurement,
    Repeat,
    ServerTime,
    Subject,
)

_Parts = TypeVar("_Parts", Latency, ServerTime, ClientTime)


def summarise(runs: Sequence[AnalyzerRun], phase: str = "") -> Measurement:
    """Return the measurement of one subject under one load: medians of the runs that count and have figures."""
    counting = [run for run in runs if run.counts]
    figures = [run.figures for run in counting if run.figures]
    bad = [run.reason for run in counting if run.reason]
    return Measurement(
        subject=runs[0].subject,
        load=runs[0].load,
        figures=_median(figures) if figures else None,
        repeats=tuple(Repeat(each.throughput, each.latency) for each in figures),
        discarded=len(runs) - len(counting),
        stable=bool(counting) and not bad,
        failed=sum(run.failed for run in runs),
        batches=_added(run.batches for run in counting),
        machine=MachineLoad(*(max(getattr(run.machine, each.name) for run in runs) for each in fields(MachineLoad))),
        metrics=_gauges(counting),
        commands=tuple(dict.fromkeys(run.command for run in runs)),
        reason=_reason(bad, len(counting)),
        phase=phase,
    )


def _reason(bad: Sequence[str], count: int) -> str:
    if not bad:
        return ""
    return bad[0] if count == 1 else f"{len(bad)} of {count} runs, such as: {bad[0]}"


def _median(figures: Sequence[Figures]) -> Figures:
    return Figures(
        throughput=median(each.throughput for each in figures),
        latency=_part(Latency, [each.latency for each in figures]),
        server=_part(ServerTime, [each.server for each in figures]),
        client=_part(ClientTime, [each.client for each in figures]),
        requests=sum(each.requests for each in figures),
        delayed=max(each.delayed for each in figures),
    )


def _part(kind: type[_Parts], parts: Sequence[_Parts]) -> _Parts:
    return kind(*(median(getattr(part, each.name) for part in parts) for each in fields(kind)))


def _added(counts: Iterator[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for each in counts:
        for size, count in each.items():
            total[size] = total.get(size, 0) + count
    return dict(sorted(total.items()))


def _gauges(runs: Sequence[AnalyzerRun]) -> dict[str, Gauge]:
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    seen = {name: [run.metrics[name] for run in runs if name in run.metrics] for name in names}
    return {
        name: Gauge(fmean(each.mean for each in all_), max(each.most for each in all_)) for name, all_ in seen.items()
    }


def best_within(measurements: Sequence[Measurement], slo: Slo) -> dict[Subject, Measurement | None]:
    """Return for each subject the measurement with the highest throughput that keeps the limit, or None."""
    best: dict[Subject, Measurement | None] = {each.subject: None for each in measurements}
    kept = [(each.figures.throughput, each) for each in measurements if each.figures and keeps(each, slo)]
    for _, each in sorted(kept, key=lambda pair: pair[0]):
        best[each.subject] = each
    return best


def keeps(measurement: Measurement, slo: Slo) -> bool:
    """Whether a measurement keeps the limit and no request failed; an unstable one must keep it in every round."""
    if measurement.figures is None or measurement.failed:
        return False
    return all(meets(each, slo) for each in judged_by(measurement))


def judged_by(measurement: Measurement) -> Sequence[Figures | Repeat]:
    """Return the figures that must keep a limit: the medians, or for an unstable measurement those of every run."""
    return [measurement.figures] if measurement.stable and measurement.figures else measurement.repeats


def meets(seen: Figures | Repeat, slo: Slo) -> bool:
    """Whether a latency keeps its limit."""
    return float(getattr(seen.latency, slo.percentile)) <= slo.limit_us
