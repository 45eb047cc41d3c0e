"""The summary at the top of a report: a few sentences, the most important ones first."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from modelrepo.perf.measuring.summary import best_within
from modelrepo.perf.report import units
from modelrepo.perf.report.subjects import Subjects
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import Comparison, InProcess, Measurement, Results, Subject

Tone = Literal["good", "bad", "warn", "quiet", "plain"]
TONES: dict[str, Tone] = {"better": "good", "worse": "bad", "noise": "quiet", "unknown": "warn"}
METRICS = {"throughput": "throughput", "p50": "p50 latency", "p99": "p99 latency"}
# The most measurements without figures that are named.
NAMED = 3
LOCAL = "Measured on this machine's CPU: a GPU host will differ."


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report, its tone, and the number of its subject's colour."""

    text: str
    tone: Tone = "plain"
    colour: int | None = None


def verdict(results: Results) -> tuple[Sentence, ...]:
    """Return the findings: the load test's outcome, the best throughput, differences, the speed-up of conversion."""
    subjects = Subjects.of(results)
    return (
        *scenario(results),
        *_best(results, subjects),
        *_differences(results, subjects),
        *_frameworks(results.in_process),
    )


def cautions(results: Results) -> tuple[Sentence, ...]:
    """Return the warnings that a reader needs before the figures."""
    server = results.environment.get("server")
    found = [Sentence(LOCAL, "warn")] if isinstance(server, dict) and server.get("local") is True else []
    found += incomplete(results)
    found += _without(results)
    unstable = [each for each in results.measurements if each.figures and not each.stable]
    failed = sum(each.failed for each in results.measurements)
    if failed and not results.scenario:
        found.append(Sentence(f"{units.many(failed, 'request')} failed.", "bad"))
    if unstable:
        of_all = units.many(len(results.measurements), "measurement")
        found.append(Sentence(f"{len(unstable)} of {of_all} unstable: the reasons are below.", "warn"))
    return (*found, *(Sentence(warning, "warn") for warning in results.warnings))


def incomplete(results: Results) -> Iterator[Sentence]:
    """Yield why results are incomplete, and from how many rounds the figures are; nothing for complete results."""
    if results.incomplete:
        yield Sentence(f"Incomplete: {results.incomplete}.{_rounds(results)}", "bad")


def _rounds(results: Results) -> str:
    """Return in a sentence the number of rounds that the figures come from, empty if there are none."""
    options = results.environment.get("options")
    wanted = options.get("repeats") if isinstance(options, dict) and not results.in_process else None
    counted = Counter((run.subject, run.load) for run in results.runs if run.counts and run.figures and not run.again)
    if not wanted or not counted:
        return ""
    least, most = min(counted.values()), max(counted.values())
    return (
        f" The figures come from {least if least == most else f'{least} to {most}'} of {units.many(wanted, 'round')}."
    )


def _without(results: Results) -> Iterator[Sentence]:
    """Yield the measurements without figures, or their number if there are many."""
    without, subjects = [each for each in results.measurements if each.figures is None], Subjects.of(results)
    if len(without) > NAMED:
        text = f"{len(without)} of {units.many(len(results.measurements), 'measurement')} gave no figures: see below."
        yield Sentence(text, "bad")
        return
    for each in without:
        yield Sentence(f"{subjects.name(each.subject)} at {each.load} gave no figures: {each.reason}.", "bad")


def scenario(results: Results) -> Iterator[Sentence]:
    """Yield a load test's outcome, the limits that it broke, and the counts of its requests."""
    outcome = results.scenario
    if outcome is None:
        return
    passed = not outcome.breaches and not results.incomplete
    ending = "passed" if passed else "failed" if outcome.breaches else "did not finish"
    yield Sentence(f"Load test “{outcome.name}” {ending}.", "good" if passed else "bad")
    yield from (Sentence(f"Broken: {breach}", "bad") for breach in outcome.breaches)
    requests = outcome.requests
    lost = requests.failed or requests.wrong
    yield Sentence(
        f"Requests: {requests.sent:,} sent, {requests.answered:,} answered, {requests.failed:,} failed; "
        f"{requests.checked:,} answers checked, {requests.wrong:,} wrong.",
        "bad" if lost else "plain",
    )
    yield from (Sentence(remark) for remark in outcome.remarks)


def _best(results: Results, subjects: Subjects) -> Iterator[Sentence]:
    measured = [each for each in results.measurements if not each.phase]
    if results.slo:
        for subject, best in best_within(measured, results.slo).items():
            yield _within(subject, best, results.slo, subjects)
        return
    for subject in dict.fromkeys(each.subject for each in measured):
        own = [each for each in measured if each.subject == subject and each.figures]
        if own:
            best = max(own, key=lambda each: (each.stable, _throughput(each)))
            yield Sentence(f"Best throughput: {_in_words(best, subjects)}.", colour=subjects.colour(subject))


def _within(subject: Subject, best: Measurement | None, slo: Slo, subjects: Subjects) -> Sentence:
    colour = subjects.colour(subject)
    if best is None:
        return Sentence(f"{subjects.name(subject)} keeps {slo} under no load that was tried.", "bad", colour)
    return Sentence(f"Best throughput within {slo}: {_in_words(best, subjects)}.", "good", colour)


def _throughput(measurement: Measurement) -> float:
    return measurement.figures.throughput if measurement.figures else 0.0


def _in_words(best: Measurement, subjects: Subjects) -> str:
    p99 = units.duration(best.figures.latency.p99) if best.figures else units.NO_FIGURE
    unstable = "" if best.stable else "; unstable"
    return f"{subjects.name(best.subject)} {units.digits(_throughput(best))} /s at {best.load} (p99 {p99}{unstable})"


def _differences(results: Results, subjects: Subjects) -> Iterator[Sentence]:
    """Yield a sentence for each subject: on throughput if the load was a concurrency, on latency if it was a rate."""
    heights = {(each.subject, each.load): _throughput(each) for each in results.measurements}
    for subject in dict.fromkeys(each.subject for each in results.comparisons):
        own = [each for each in results.comparisons if each.subject == subject and _is_informative(each)]
        if own:
            chosen = max(own, key=lambda each: heights.get((each.baseline, each.load), 0.0))
            yield Sentence(_difference(chosen, own, subjects), TONES[chosen.verdict], subjects.colour(subject))


def _is_informative(comparison: Comparison) -> bool:
    """Whether a metric can differ under this load: at a fixed rate all have the same throughput."""
    return comparison.metric == ("throughput" if comparison.load.request_rate is None else "p99")


def _difference(chosen: Comparison, own: list[Comparison], subjects: Subjects) -> str:
    name, other = subjects.name(chosen.subject), subjects.name(chosen.baseline)
    where = f"at {chosen.load}"
    match chosen.verdict:
        case "unknown":
            return f"{name} against {other} {where}: too few rounds for a verdict."
        case "noise":
            text = f"{name} and {other} differ by no more than noise {where}: {units.ratio(chosen.ratio)}"
        case _:
            text = f"{name} has {units.ratio(chosen.ratio)} the {METRICS[chosen.metric]} of {other} {where}"
            text += f": {chosen.verdict}"
    text += "" if chosen.stable else ", from unstable measurements"
    same = sum(each.verdict == chosen.verdict for each in own)
    return f"{text}; the same at {same} of {len(own)} loads." if len(own) > 1 else f"{text}."


def _frameworks(rows: tuple[InProcess, ...]) -> Iterator[Sentence]:
    """Yield a sentence for each model and framework: its speed-up at the largest batch."""
    for model, framework in dict.fromkeys((row.model, row.framework) for row in rows):
        own = [row for row in rows if (row.model, row.framework) == (model, framework) and row.speed_up]
        if own:
            last = max(own, key=lambda row: row.batch_size)
            first = next(row.framework for row in rows if row.model == model)
            text = f"{model} in {framework}: {units.ratio(last.speed_up)} as fast as in {first}"
            yield Sentence(f"{text} at batch {last.batch_size}.", _speed_tone(last))


def _speed_tone(row: InProcess) -> Tone:
    if row.speed_up is None or row.speed_up.low <= 1 <= row.speed_up.high:
        return "quiet"
    return "good" if row.speed_up.value > 1 else "bad"
