"""How the subjects stand after a round, in one line, before all rounds are measured."""

from collections.abc import Sequence
from statistics import fmean, median

from modelrepo.perf.report import units
from modelrepo.perf.results.compare import Metric, compare_subjects, figure
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, Comparison, Figures, Subject, Verdict

NAMES: dict[Metric, str] = {"throughput": "samples/s", "p99": "p99"}
WORDS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "noise": "no more than noise",
    "unknown": "uncertain",
}


def standing(runs: Sequence[AnalyzerRun], subjects: Sequence[Subject]) -> str:
    """Return the others' ratios to the first subject at the load where that answers most, or the best figures of one.

    After one round a ratio has no interval, and so no verdict. Empty if there are no figures yet.
    """
    first, *others = subjects
    loads = dict.fromkeys(run.load for run in runs)
    heights = {load: _median("throughput", _figures(runs, load, first)) for load in loads}
    load = max(heights, key=heights.__getitem__, default=None)
    if load is None or not heights[load]:
        return ""
    if not others:
        p99 = _median("p99", _figures(runs, load, first))
        best = "best so far: " if len(heights) > 1 else ""
        return f"{best}{units.digits(heights[load])} samples/s at {load}, p99 {units.duration(p99)}"
    metric: Metric = "throughput" if load.request_rate is None else "p99"
    compared = [each for each in compare_subjects(runs, [load], subjects) if each.metric == metric]
    said = [_ratio(runs, each) for each in compared]
    early = "; too early for a verdict" if all(each.ratio is None for each in compared) else ""
    return f"{NAMES[metric]} at {load}, against {first.model}: {', '.join(said)}{early}"


def _figures(runs: Sequence[AnalyzerRun], load: Load, subject: Subject) -> list[Figures]:
    return [run.figures for run in runs if run.counts and run.figures and (run.load, run.subject) == (load, subject)]


def _median(metric: Metric, figures: Sequence[Figures]) -> float:
    return median(figure(each, metric) for each in figures) if figures else 0.0


def _ratio(runs: Sequence[AnalyzerRun], compared: Comparison) -> str:
    """Return a subject's ratio to the first, with its interval and verdict if there is one."""
    if compared.ratio:
        return f"{compared.subject.model} {units.ratio(compared.ratio)} {WORDS[compared.verdict]}"
    own, first = (_figures(runs, compared.load, each) for each in (compared.subject, compared.baseline))
    if not own:
        return f"{compared.subject.model} without figures"
    baseline = fmean(figure(each, compared.metric) for each in first)
    return f"{compared.subject.model} {units.factor(_median(compared.metric, own) / baseline)}"
