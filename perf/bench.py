"""The story of `bench`: every subject under every load, side by side, in rounds, until the figures can be trusted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean, median
from typing import TypeVar

from generator.progress import Progress
from perf.loads import Load, Slo
from perf.machine import STEAL
from perf.results import (
    ClientTime,
    Figures,
    Gauge,
    Latency,
    MachineLoad,
    Measurement,
    Repeat,
    Run,
    ServerTime,
    Subject,
)
from perf.run import Setting, request_of, run
from perf.target import Target, is_there

_Parts = TypeVar("_Parts", Latency, ServerTime, ClientTime)


@dataclass(frozen=True)
class Plan:
    """What is measured: each load so many ``rounds``; a disturbed or unsteady run is repeated up to ``tries`` times."""

    loads: Sequence[Load]
    rounds: int
    tries: int = 3


@dataclass(frozen=True)
class Slot:
    """One place in a round: a target, or the first target once more."""

    target: Target
    again: bool = False


class Recorder:
    """Keeps every run as it is made, so that an interrupt or a dead server loses none of them.

    ``incomplete`` says why the measuring ended early, and is empty where it did not.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.incomplete = ""

    def measurements(self, phase: str = "") -> tuple[Measurement, ...]:
        """Return what the runs add up to, in the order in which subjects and loads were first met."""
        keys = dict.fromkeys((run.subject, run.load) for run in self.runs)
        return tuple(summarise([each for each in self.runs if (each.subject, each.load) == key], phase) for key in keys)


def measure(setting: Setting, targets: Sequence[Target], plan: Plan, recorder: Recorder, progress: Progress) -> None:
    """Measure all targets under all loads; what was found is in the recorder, whatever happens.

    Each round has every target once, and where there are several the first again: what it differs from itself is the
    noise. Raises PerfError where perf_analyzer can't be had or understood.
    """
    try:
        for load in plan.loads:
            with progress.step("measure", f"measuring {load}") as step:
                _measure_load(setting, targets, load, plan, recorder, progress)
                step.outcome = "; ".join(_told(each) for each in recorder.measurements() if each.load == load)
            if recorder.incomplete:
                return
    except KeyboardInterrupt:
        recorder.incomplete = "interrupted"


def _measure_load(
    setting: Setting, targets: Sequence[Target], load: Load, plan: Plan, recorder: Recorder, progress: Progress
) -> None:
    given_up: set[Subject] = set()
    for number in range(1, plan.rounds + 1):
        for slot in _round(targets, number):
            if slot.target.subject in given_up:
                continue
            progress.note(f"round {number} of {plan.rounds}, {slot.target.subject.model}")
            found = _settled(setting, slot, load, number, plan.tries, recorder, progress)
            if found.figures is None:
                given_up.add(found.subject)
                if not is_there(setting.client):
                    recorder.incomplete = f"the server no longer answers; {found.reason}"
                    return


def _round(targets: Sequence[Target], number: int) -> list[Slot]:
    """Return the order of a round; every other one is reversed, so that what drifts does not favour anyone."""
    slots = [Slot(target) for target in targets]
    if len(targets) > 1:
        slots.append(Slot(targets[0], again=True))
    return slots if number % 2 else slots[::-1]


def _settled(
    setting: Setting, slot: Slot, load: Load, number: int, tries: int, recorder: Recorder, progress: Progress
) -> Run:
    """Run until a run is steady on an undisturbed machine, or the tries are used up; the last one counts."""
    request = request_of(setting, slot.target, load)
    for attempt in range(1, tries + 1):
        found = run(setting, slot.target, request, number, slot.again)
        if not any((each.subject, each.load) == (found.subject, found.load) for each in recorder.runs):
            progress.tell(f"$ {found.command}")
        good = found.stable and found.machine.steal <= STEAL
        counts = good or attempt == tries or not is_there(setting.client)
        recorder.runs.append(replace(found, counts=counts))
        if counts:
            break
    return found


def summarise(runs: Sequence[Run], phase: str = "") -> Measurement:
    """Return what the runs of one subject under one load add up to: medians of those that count and have figures."""
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


def _gauges(runs: Sequence[Run]) -> dict[str, Gauge]:
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    seen = {name: [run.metrics[name] for run in runs if name in run.metrics] for name in names}
    return {
        name: Gauge(fmean(each.mean for each in all_), max(each.most for each in all_)) for name, all_ in seen.items()
    }


def _told(measurement: Measurement) -> str:
    name, figures = measurement.subject.model, measurement.figures
    if figures is None:
        return f"{name} none ({measurement.reason})"
    mark = "" if measurement.stable else " (unstable)"
    return f"{name} {figures.throughput:.4g}/s, p99 {figures.latency.p99 / 1e3:.3g} ms{mark}"


def best_within(measurements: Sequence[Measurement], slo: Slo) -> dict[Subject, Measurement | None]:
    """Return for each subject the measurement of the highest throughput that keeps the limit, None where none does."""
    best: dict[Subject, Measurement | None] = {each.subject: None for each in measurements}
    kept = [(each.figures.throughput, each) for each in measurements if each.figures and keeps(each, slo)]
    for _, each in sorted(kept, key=lambda pair: pair[0]):
        best[each.subject] = each
    return best


def keeps(measurement: Measurement, slo: Slo) -> bool:
    """Tell whether a latency keeps its limit and no request failed; an unstable one must keep it in every round."""
    if measurement.figures is None or measurement.failed:
        return False
    seen = [measurement.figures] if measurement.stable else measurement.repeats
    return all(meets(each, slo) for each in seen)


def meets(seen: Figures | Repeat, slo: Slo) -> bool:
    """Tell whether a latency keeps its limit."""
    return float(getattr(seen.latency, slo.percentile)) <= slo.limit_us
