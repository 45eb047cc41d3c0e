"""Telling a difference from noise: ratios over rounds with a confidence interval, beside a baseline's own spread."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev, variance
from typing import Literal

from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import (
    AnalyzerRun,
    Comparison,
    Figures,
    Measurement,
    Ratio,
    Repeat,
    Results,
    Subject,
    Verdict,
)

Metric = Literal["throughput", "p50", "p99"]
PASSING = ("url", "metrics")
METRICS: tuple[Metric, ...] = ("throughput", "p50", "p99")
# Student's t for 95 % two-sided, by degrees of freedom from 1; NIST/SEMATECH e-Handbook, section 1.3.6.7.2.
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio | None:
    """Return subject over baseline with its 95 % interval, from one pair of figures a round; None for fewer than two.

    The mean is geometric and the interval Student's over the logarithms: a ratio and its inverse weigh the same.
    """
    logs = [math.log(subject / baseline) for subject, baseline in pairs if subject > 0 and baseline > 0]
    if len(logs) < 2:
        return None
    return _interval(fmean(logs), stdev(logs) / math.sqrt(len(logs)), len(logs) - 1)


def _interval(mean: float, error: float, freedom: float) -> Ratio:
    # Bounds beyond e^30 mean nothing, and larger ones overflow.
    half = min(STUDENT[min(max(1, int(freedom)), len(STUDENT)) - 1] * error, 30.0)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def figure(of: Repeat | Figures, metric: Metric) -> float:
    """Return the figure of a metric."""
    return of.throughput if metric == "throughput" else float(getattr(of.latency, metric))


def floor(noise: Ratio) -> float:
    """Return the largest ratio, in either direction, that noise can produce without a difference."""
    return max(noise.high, 1 / noise.low, 1.0)


def verdict_of(metric: Metric, ratio: Ratio | None, noise: Ratio | None) -> Verdict:
    """Return the verdict on a ratio: noise unless its interval excludes 1 and it is beyond the noise."""
    if ratio is None or noise is None:
        return "unknown"
    largest = floor(noise)
    if ratio.low <= 1 <= ratio.high or 1 / largest <= ratio.value <= largest:
        return "noise"
    return "better" if (ratio.value > 1) == (metric == "throughput") else "worse"


def compare_subjects(
    runs: Sequence[AnalyzerRun], loads: Sequence[Load], subjects: Sequence[Subject]
) -> tuple[Comparison, ...]:
    """Compare every subject with the first, load by load, round by round, from the runs that count.

    Only rounds in which all of them have figures are compared. The baseline of a round is the mean of its first and its
    second run. Unstable runs are kept, as leaving them out would favour the calm ones: they widen the interval, and the
    noise.
    """
    return tuple(
        _compared(metric, load, subject, subjects[0], _rounds(runs, load, subjects[0], subject))
        for load in loads
        for subject in subjects[1:]
        for metric in METRICS
    )


Round = tuple[AnalyzerRun, AnalyzerRun, AnalyzerRun]  # the baseline, the baseline again, the subject


def _rounds(runs: Sequence[AnalyzerRun], load: Load, baseline: Subject, subject: Subject) -> list[Round]:
    found: dict[int, dict[tuple[Subject, bool], AnalyzerRun]] = {}
    for run in runs:
        if run.load == load and run.counts and run.figures:
            found.setdefault(run.round, {})[run.subject, run.again] = run
    keys = ((baseline, False), (baseline, True), (subject, False))
    whole = [each for each in found.values() if all(key in each for key in keys)]
    return [(each[keys[0]], each[keys[1]], each[keys[2]]) for each in whole]


def _compared(metric: Metric, load: Load, subject: Subject, baseline: Subject, rounds: Sequence[Round]) -> Comparison:
    figures = [tuple(figure(run.figures, metric) for run in each if run.figures) for each in rounds]
    ratio = ratio_of([(own, (first + again) / 2) for first, again, own in figures])
    noise = ratio_of([(again, first) for first, again, _ in figures])
    stable = all(run.stable for each in rounds for run in each)
    return Comparison(metric, load, subject, baseline, ratio, noise, verdict_of(metric, ratio, noise), stable)


def compare_results(before: Results, after: Results) -> tuple[Comparison, ...]:
    """Compare the measurements that two runs of ``bench`` share: the same model and protocol under the same load.

    The rounds of different runs are not pairs, so the interval is Welch's over the logarithms. The noise is the widest
    one known: models' differences from themselves within a round, and of these two from one round to the next. It does
    not include differences between sessions.
    """
    known = [*before.comparisons, *after.comparisons]
    return tuple(
        _change(old, new, metric, [each.noise for each in known if each.metric == metric])
        for old, new in _common(before.measurements, after.measurements)
        for metric in METRICS
    )


def _change(old: Measurement, new: Measurement, metric: Metric, noises: Sequence[Ratio | None]) -> Comparison:
    ratio = _unpaired(old, new, metric)
    own = ratio_of([*_successive(old, metric), *_successive(new, metric)])
    noise = max((each for each in (*noises, own) if each), key=floor, default=None)
    stable = old.stable and new.stable
    verdict = verdict_of(metric, ratio, noise)
    return Comparison(metric, new.load, new.subject, old.subject, ratio, noise, verdict, stable)


def _successive(measurement: Measurement, metric: Metric) -> Iterator[tuple[float, float]]:
    """Yield a model's figures of one run and the next: their differences are noise."""
    return pairwise(figure(each, metric) for each in measurement.repeats)


def _common(before: Sequence[Measurement], after: Sequence[Measurement]) -> Iterator[tuple[Measurement, Measurement]]:
    """Yield the measurements of the same version of a model, or of the only version in each."""
    for new in after:
        matching = [old for old in before if _identity(old) == _identity(new)]
        own = [each for each in after if _identity(each) == _identity(new)]
        same = [old for old in matching if old.subject.version == new.subject.version]
        if same or len(matching) == len(own) == 1:
            yield (same or matching)[0], new


def _identity(measurement: Measurement) -> tuple[object, ...]:
    subject = measurement.subject
    return subject.model, subject.protocol, measurement.load, measurement.phase


def _unpaired(old: Measurement, new: Measurement, metric: Metric) -> Ratio | None:
    """Return new over old with Welch's interval, None if either has fewer than two rounds."""
    logs = [
        [math.log(figure(repeat, metric)) for repeat in each.repeats if figure(repeat, metric) > 0]
        for each in (old, new)
    ]
    if min(map(len, logs)) < 2:
        return None
    shares = [variance(each) / len(each) for each in logs]
    total = sum(shares)
    smaller = sum(share**2 / (len(each) - 1) for share, each in zip(shares, logs, strict=True))
    return _interval(fmean(logs[1]) - fmean(logs[0]), math.sqrt(total), total**2 / smaller if smaller else 1)


def differences(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield the differences between two environments. On a different machine a ratio proves little."""
    # Each run starts a local server of its own.
    passing = PASSING if before.get("local") and after.get("local") else ()
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if key in passing:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}: {old} before, {new} after"
