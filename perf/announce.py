"""What a run of `bench` or `compare` says before it starts: what it measures, and how long that takes."""

from collections.abc import Callable, Mapping

from modelrepo.generator.progress import Progress
from modelrepo.generator.system import extras
from modelrepo.perf.bench import SECONDS, BenchOptions, Mode
from modelrepo.perf.measuring import plan
from modelrepo.perf.measuring.plan import in_time
from modelrepo.perf.measuring.session import check_models
from modelrepo.perf.report.units import many
from modelrepo.perf.scenarios import load_test

# The source framework, ONNX Runtime, and the served model.
WAYS = 3
SHORTER: Mapping[Mode, str] = {
    "measure": "--repeats and --duration",
    "scenario": "--duration",
    "frameworks": "--batch-size, --repeats and --duration",
}


def announce(options: BenchOptions, progress: Progress) -> None:
    """Show what will be measured, and how long that takes.

    Raises PerfError without the packages of bench, and OptionError for models that a local server would not find.
    """
    extras.require(extras.BENCH)
    if options.url is None:
        check_models(options.repository, options.models)
    progress.show(f"plan: {PLANS[options.mode](options)}")
    progress.show(f"      shorter with {SHORTER[options.mode]}; Ctrl-C keeps what was measured")


def _rounds(options: BenchOptions) -> str:
    models, loads, rounds = len(options.models), len(options.loads), options.repeats
    planned = plan.from_settings(models, loads, rounds, options.seconds)
    return f"{many(models, 'model')}, {many(loads, 'load')}, {many(rounds, 'round')}: {planned}"


def _scenario(options: BenchOptions) -> str:
    assert options.scenario  # noqa: S101 - it is the mode's
    scenario, models = options.scenario.lasting(options.seconds), len(options.models)
    runs = load_test.planned(scenario, models, options.rate)
    names = ", ".join(phase.name for phase in scenario.phases)
    if load_test.capacity_of(scenario, options.rate):
        names = f"capacity, {names}"
    time = in_time(sum(runs))
    time = f"at most {time}" if any(phase.until_saturated for phase in scenario.phases) else f"about {time}"
    together = " at once" if scenario.together and models > 1 else ""
    return f"load test {scenario.name} ({names}), {many(models, 'model')}{together}: {many(len(runs), 'run')}, {time}"


def _frameworks(options: BenchOptions) -> str:
    models, sizes, rounds = len(options.models), len(options.batch_sizes), options.repeats
    runs = models * sizes * rounds * WAYS
    seconds = options.seconds or SECONDS
    counted = f"{many(models, 'model')}, {many(sizes, 'batch size')}, {many(rounds, 'round')}"
    time = in_time(runs * plan.taken(seconds))
    return f"{counted}: at most {many(runs, 'run')} of {seconds:.3g} s, {time}, and the time to load the sources"


PLANS: Mapping[Mode, Callable[[BenchOptions], str]] = {
    "measure": _rounds,
    "scenario": _scenario,
    "frameworks": _frameworks,
}
