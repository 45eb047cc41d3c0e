"""The failure of a run of `bench`, with its exit code."""

from modelrepo.generator.errors import ModelRepoError, PerfError, ServerError
from modelrepo.perf.measuring.rounds import INTERRUPTED, SERVER_GONE
from modelrepo.perf.measuring.summary import best_within, judged_by
from modelrepo.perf.results.loads import Slo
from modelrepo.perf.results.results import Results


class Interrupted(ModelRepoError):
    """The user has interrupted the run; the measurements until then were kept."""

    exit_code = 130  # 128 + SIGINT, as shells report it


def failure(results: Results, reported: bool) -> ModelRepoError | None:
    """Return the run's most serious failure, or None; ``reported`` is True if there is a report."""
    kept = "the earlier measurements are " + ("in the report" if reported else "printed, but in no report")
    if results.incomplete == INTERRUPTED:
        return Interrupted(f"interrupted: {kept}")
    if results.incomplete:
        kind = ServerError if results.incomplete.startswith(SERVER_GONE) else PerfError
        return kind(results.incomplete, kept.capitalize())
    if results.scenario and results.scenario.breaches:
        more = len(results.scenario.breaches) - 1
        others = f", and {more} more" if more else ""
        return PerfError(f"{results.scenario.name}: {results.scenario.breaches[0]}{others}", "See the report")
    without = [each for each in results.measurements if each.figures is None]
    if without:
        first = without[0]
        return PerfError(f"no figures for {first.subject.model} at {first.load}: {first.reason}", "See its log in raw/")
    failed = sum(each.failed for each in results.measurements)
    if failed and not results.scenario:
        return PerfError(f"{failed} requests failed", "See the report")
    if results.slo and not results.scenario:
        return _unmet(results, results.slo)
    return None


def _unmet(results: Results, slo: Slo) -> PerfError | None:
    for subject, best in best_within(results.measurements, slo).items():
        if best is None:
            own = [each for each in results.measurements if each.subject == subject]
            least = min(max(getattr(each.latency, slo.percentile) for each in judged_by(each)) for each in own) / 1e3
            return PerfError(
                f"{subject.model} keeps {slo} under no load: the lowest measured is {least:.3g} ms",
                "Lower the load, or loosen the limit",
            )
    return None
