"""How the subjects stand after a round, before all rounds are measured."""

from collections.abc import Sequence
from statistics import fmean, median

from modelrepo.perf.report import units
from modelrepo.perf.results.compare import Metric, compare_subjects, figure
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, Comparison, Figures, Subject, Verdict

NAMES: dict[Metric, str] = {"throughput": "samples/s", "p50": "p50", "p99": "p99"}
WORDS: dict[Verdict, str] = {"better": "better", "worse": "worse", "noise": "noise", "unknown": "uncertain"}
EARLY = "too early for a verdict"


def standing(runs: Sequence[AnalyzerRun], subjects: Sequence[Subject]) -> tuple[str, list[str]]:
    """Return a heading, and a line for each other subject with its ratios to the first; for one its best figures.

    The ratios are p50 at the first load, and samples a second at the load where the first subject answers most; for
    rates, which all subjects keep, p99. After one round a ratio has no interval, and so no verdict. All is empty if
    there are no figures yet.
    """
    first, *others = subjects
    heights = {load: _median("throughput", _figures(runs, load, first)) for load in dict.fromkeys(r.load for r in runs)}
    busiest = max(heights, key=heights.__getitem__, default=None)
    if busiest is None or not heights[busiest]:
        return "", []
    if not others:
        p99 = _median("p99", _figures(runs, busiest, first))
        best = "best so far: " if len(heights) > 1 else ""
        return f"{best}{units.digits(heights[busiest])} samples/s at {busiest}, p99 {units.duration(p99)}", []
    shown: list[tuple[Metric, Load]] = [("p50", next(iter(heights))), ("throughput", busiest)]
    if busiest.request_rate is not None:
        shown = [("p99", busiest)]
    compared = {(metric, load, each.subject): each for metric, load in shown
                for each in compare_subjects(runs, [load], subjects) if each.metric == metric}  # fmt: skip
    lines = [
        f"{other.model}: " + ", ".join(_ratio(runs, compared[metric, load, other]) for metric, load in shown)
        for other in others
    ]
    where = ", ".join(f"{NAMES[metric]} at {load}" for metric, load in shown)
    early = all(each.ratio is None for each in compared.values())
    return f"against {first.model}, {where}{f'; {EARLY}' if early else ''}", lines


def _figures(runs: Sequence[AnalyzerRun], load: Load, subject: Subject) -> list[Figures]:
    return [run.figures for run in runs if run.counts and run.figures and (run.load, run.subject) == (load, subject)]


def _median(metric: Metric, figures: Sequence[Figures]) -> float:
    return median(figure(each, metric) for each in figures) if figures else 0.0


def _ratio(runs: Sequence[AnalyzerRun], compared: Comparison) -> str:
    """Return a subject's ratio to the first, with its interval and verdict if there is one."""
    name = NAMES[compared.metric]
    if compared.ratio:
        return f"{name} {units.ratio(compared.ratio)} {WORDS[compared.verdict]}"
    own, first = (_figures(runs, compared.load, each) for each in (compared.subject, compared.baseline))
    if not own or not first:
        return f"{name} without figures"
    baseline = fmean(figure(each, compared.metric) for each in first)
    return f"{name} {units.factor(_median(compared.metric, own) / baseline)}"
