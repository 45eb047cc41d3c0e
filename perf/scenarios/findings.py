"""The findings of a load test: lost, wrong and slow answers, where a model saturates, and changes over time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import sqrt
from statistics import fmean, median

from modelrepo.perf.measuring.summary import meets
from modelrepo.perf.measuring.target import Target
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import AnalyzerRun, Figures, Requests, Subject
from modelrepo.perf.scenarios.canary import Seen
from modelrepo.perf.scenarios.scenario import CAPACITY, Phase

# A step of a ramp must exceed the best before it by this factor. One step may fail: it may be the first with batches.
GROWTH = 1.05
PATIENCE = 2
# From this share of the best throughput on, more load adds latency and almost no throughput.
KNEE = 0.9
# A server (or the client) did not keep up if the requested rate is missed by this share, and by so many standard
# deviations of the number of Poisson arrivals.
MISSED = 0.05
DEVIATIONS = 3.0
DELAYED = 0.01


@dataclass(frozen=True)
class Played:
    """A step of a phase with one model: the run, its canary's counts, the runs before it that do not count.

    ``label`` names the step in its phase. ``memory`` is the memory of the server's processes at the end, in bytes, None
    if it is not known.
    """

    phase: Phase
    label: str
    run: AnalyzerRun
    seen: Seen
    discarded: tuple[AnalyzerRun, ...] = ()
    memory: int | None = None

    @property
    def lost(self) -> int:
        """The requests without an answer: those that the server failed, and the canary's lost ones."""
        return self.run.failed + self.seen.lost


def analyzer_failed(run: AnalyzerRun) -> bool:
    """Whether perf_analyzer itself failed, and no request."""
    return run.figures is None and not run.failed


def saturated(steps: Sequence[Played], slo: Slo | None) -> bool:
    """Whether more load is useless: a step gave no figures, or several in a row no more throughput within the SLO."""
    best, idle = 0.0, 0
    for each in steps:
        figures = each.run.figures
        if figures is None:
            return True
        grew = figures.throughput > GROWTH * best
        idle = 0 if grew and _keeps(figures, slo) else idle + 1
        best = max(best, figures.throughput)
    return idle >= PATIENCE


def _keeps(figures: Figures, slo: Slo | None) -> bool:
    return slo is None or meets(figures, slo)


def best_figures(played: Sequence[Played]) -> str:
    """Return each model's best figures in a few words, or why it has none."""
    return "; ".join(_best(model, steps) for model, _, steps in _phases(played))


def _best(model: str, steps: Sequence[Played]) -> str:
    figures = [each.run.figures for each in steps if each.run.figures]
    return f"{model} {_at(max(figures, key=_throughput))}" if figures else f"{model} none ({steps[-1].run.reason})"


def _throughput(figures: Figures) -> float:
    return figures.throughput


def requests(played: Sequence[Played]) -> Requests:
    """Return the counts of all requests, including those of the canaries and of perf_analyzer's failed runs."""
    runs = [run for each in played for run in (*each.discarded, each.run)]
    seen = _seen(played)
    answered, failed = sum(run.answered for run in runs), sum(run.failed for run in runs) + seen.lost
    return Requests(answered + failed, answered, failed, seen.checked, seen.wrong)


def _seen(played: Sequence[Played]) -> Seen:
    return reduce(lambda one, other: one + other, (each.seen for each in played), Seen())


def breaches(played: Sequence[Played], slo: Slo | None) -> tuple[str, ...]:
    """Return the broken limits, a sentence each, by model and phase."""
    checks: tuple[Callable[[Sequence[Played]], Iterator[str]], ...] = (
        _lost,
        _wrong,
        lambda steps: _slo(steps, slo) if slo else iter(()),
        lambda steps: _recovery(steps, played, slo),
    )
    return tuple(
        f"{model}, {phase.name}: {said}"
        for model, phase, steps in _phases(played)
        for check in checks
        for said in check(steps)
    )


def _phases(played: Sequence[Played]) -> Iterator[tuple[str, Phase, list[Played]]]:
    """Yield the steps of each model in each phase, in the order in which they ran."""
    keys = dict.fromkeys((each.run.subject, each.phase) for each in played)
    for subject, phase in keys:
        yield subject.model, phase, [each for each in played if (each.run.subject, each.phase) == (subject, phase)]


def _lost(steps: Sequence[Played]) -> Iterator[str]:
    lost = sum(each.lost for each in steps)
    without = [each for each in steps if each.run.figures is None]
    reasons = [each.run.reason for each in without] + [each.seen.reason for each in steps if each.seen.reason]
    if lost:
        sent = requests(steps).sent
        cut = "; perf_analyzer ends at the first, so the rest of its load was not sent" if without else ""
        why = f": {reasons[0].removeprefix('perf_analyzer: ')}" if reasons else ""
        yield f"{lost:,} of {sent:,} requests failed{why}{cut}"
    elif without:
        yield f"no figures: {reasons[0]}"


def _wrong(steps: Sequence[Played]) -> Iterator[str]:
    seen = _seen(steps)
    if seen.wrong:
        yield f"{seen.wrong:,} of {seen.checked:,} checked answers are wrong: {seen.difference}"


def _slo(steps: Sequence[Played], slo: Slo) -> Iterator[str]:
    phase, figures = steps[0].phase, [each.run.figures for each in steps if each.run.figures]
    broken = [_latency(each, slo) for each in figures if not meets(each, slo)]
    if not phase.judged or phase.recovers or not broken:
        return
    if phase.until_saturated:
        if len(broken) == len(figures):
            yield f"no load keeps the SLO: {slo.percentile} is {time_of(min(broken))} at best, {_limit(slo)}"
        return
    where = f" at worst, in {len(broken)} of {len(steps)} steps" if len(steps) > 1 else ""
    yield f"{slo.percentile} is {time_of(max(broken))}{where}, {_limit(slo)}"


def _recovery(steps: Sequence[Played], played: Sequence[Played], slo: Slo | None) -> Iterator[str]:
    phase, last = steps[0].phase, steps[-1].run.figures
    calm = _calm(steps[0].run.subject, played)
    if not phase.recovers or calm is None or last is None or _cut_short(steps) or _recovered(steps, calm, slo):
        return
    broken = f", and the SLO allows {slo.percentile} {time_of(slo.limit_us)}" if slo else ""
    yield (
        f"latency did not recover within {phase.seconds:.3g} s: p99 is {time_of(last.latency.p99)}, where "
        f"{phase.recovers:g} times the {time_of(calm)} before are allowed{broken}"
    )


def _cut_short(steps: Sequence[Played]) -> bool:
    """Whether a phase ended early, for example by an interrupt."""
    phase = steps[0].phase
    return not phase.until_saturated and len(steps) < phase.steps


def _calm(subject: Subject, played: Sequence[Played]) -> float | None:
    """Return the p99 of a model's first phase of the scenario, None if it has no figures."""
    own = [each for each in played if each.run.subject == subject and each.label != CAPACITY]
    first = [each.run.figures.latency.p99 for each in own if each.phase == own[0].phase and each.run.figures]
    return median(first) if first else None


def _recovered(steps: Sequence[Played], calm: float, slo: Slo | None) -> int:
    """Return the number of the first segment with a latency as before, 0 if there is none."""
    for number, each in enumerate(steps, 1):
        figures = each.run.figures
        if figures and figures.latency.p99 <= (each.phase.recovers or 1) * calm and _keeps(figures, slo):
            return number
    return 0


def remarks(played: Sequence[Played], slo: Slo | None, targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the findings that break no limit, a sentence each."""
    found = [
        f"{model}, {phase.name}: {said}"
        for model, phase, steps in _phases(played)
        for said in (
            *_ramp(steps, slo),
            *_recovering(steps, played, slo),
            *_drift(steps),
            *_behind(steps),
            *_disturbed(steps),
        )
    ]
    phases = dict.fromkeys(each.phase for each in played if each.phase.segments > 2 and not each.phase.recovers)
    grown = [said for phase in phases for said in _growth([each for each in played if each.phase == phase])]
    return (*found, *grown, *_canaries(played, targets))


def _ramp(steps: Sequence[Played], slo: Slo | None) -> Iterator[str]:
    seen = [(each.run.load.concurrency, each.run.figures) for each in steps if each.run.figures and not each.lost]
    if len(steps[0].phase.concurrency) < 2 or not seen:
        return
    best = max(figures.throughput for _, figures in seen)
    number = next(number for number, each in enumerate(seen) if each[1].throughput >= KNEE * best)
    (concurrency, knee), (most, last) = seen[number], seen[-1]
    if len(seen) - number > PATIENCE:
        yield (
            f"saturates at concurrency {concurrency}, {_at(knee)}; at {most} it is {_at(last)}, and the maximum is "
            f"{three(best)}/s"
        )
    elif not _keeps(last, slo):
        yield f"ended at concurrency {most}, {_at(last)}, as the SLO stayed broken; more was not tried"
    else:
        yield f"did not saturate up to concurrency {most}, {_at(last)}"
    within = [each for each in seen if slo and meets(each[1], slo)]
    if within:
        concurrency, figures = max(within, key=lambda each: each[1].throughput)
        yield f"best throughput within {slo}: {_at(figures)}, at concurrency {concurrency}"


def _at(figures: Figures) -> str:
    return f"{three(figures.throughput)}/s with p99 {time_of(figures.latency.p99)}"


def _recovering(steps: Sequence[Played], played: Sequence[Played], slo: Slo | None) -> Iterator[str]:
    phase, calm = steps[0].phase, _calm(steps[0].run.subject, played)
    number = _recovered(steps, calm, slo) if phase.recovers and calm else 0
    if calm and number:
        seconds = number * phase.run_seconds
        yield f"p99 was back below {phase.recovers:g} times the {time_of(calm)} before within {seconds:.3g} s"


def _drift(steps: Sequence[Played]) -> Iterator[str]:
    figures = [each.run.figures for each in steps if each.run.figures]
    third = len(figures) // 3
    if not third or steps[0].phase.segments < 3 or steps[0].phase.recovers:
        return
    first, last = (median(each.latency.p99 for each in part) for part in (figures[:third], figures[-third:]))
    yield f"p99 was {time_of(first)} in the first third and {time_of(last)} in the last ({last / first - 1:+.0%})"


def _growth(steps: Sequence[Played]) -> Iterator[str]:
    """Yield the server's growth after the first segment: until then it may still allocate memory for its load."""
    seen = [each.memory for each in steps if each.memory]
    if len(seen) > 1:
        first, last = seen[0], seen[-1]
        yield (
            f"{steps[0].phase.name}: the server held {first / 1e6:,.0f} MB after the first segment and "
            f"{last / 1e6:,.0f} MB after the last ({last / first - 1:+.0%})"
        )


def _behind(steps: Sequence[Played]) -> Iterator[str]:
    seen = [(each.run.load, each.run.figures) for each in steps if each.run.figures and each.run.load.request_rate]
    if not seen:
        return
    asked = seen[0][0].request_rate or 0.0
    answered = fmean(each.throughput / load.batch_size for load, each in seen)
    if _missed(asked, answered, sum(each.requests for _, each in seen)):
        worst = max(each.latency.p99 for _, each in seen)
        yield (
            f"only {three(answered)} of {three(asked)} requests/s were answered, with p99 {time_of(worst)}"
            f"{' at worst' if len(seen) > 1 else ''}"
        )
    delayed = max(each.delayed for _, each in seen)
    if delayed > DELAYED:
        yield (
            f"perf_analyzer sent {delayed:.0%} of the requests late: the load was less sudden than requested, and no "
            "latency includes their delay"
        )


def _missed(asked: float, answered: float, requests: int) -> bool:
    """Whether a rate was missed by more than chance; ``requests`` were answered, 0 if that is not known."""
    wanted = requests * asked / answered if answered else 0.0
    return 1 - answered / asked > max(MISSED, DEVIATIONS / sqrt(wanted) if wanted else 0.0)


def _disturbed(steps: Sequence[Played]) -> Iterator[str]:
    failures = [run.reason for each in steps for run in each.discarded if analyzer_failed(run)]
    if failures:
        times = "once" if len(failures) == 1 else f"{len(failures)} times"
        yield f"perf_analyzer itself failed {times}, and ran again: {failures[0].removeprefix('perf_analyzer: ')}"


def _canaries(played: Sequence[Played], targets: Sequence[Target]) -> Iterator[str]:
    blind = [target.subject.model for target in targets if not target.rows]
    if blind:
        yield f"no answers of {', '.join(blind)} were checked: their input data is a file for perf_analyzer"
    seen = _seen(played)
    if seen.checked:
        slowest = max(played, key=lambda each: each.seen.slowest)
        yield (
            f"{seen.checked:,} answers under load were compared with those of the idle server; the longest took "
            f"{slowest.seen.slowest:.3g} s, of {slowest.run.subject.model} in {slowest.label}"
        )


def _latency(figures: Figures, slo: Slo) -> float:
    return float(getattr(figures.latency, slo.percentile))


def _limit(slo: Slo) -> str:
    return f"where {time_of(slo.limit_us)} is allowed"


def time_of(microseconds: float) -> str:
    """Return a latency with three digits, in milliseconds or, if it is long, in seconds."""
    return f"{microseconds / 1e6:.3g} s" if microseconds >= 1e6 else f"{microseconds / 1e3:.3g} ms"


def three(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.10g}"
