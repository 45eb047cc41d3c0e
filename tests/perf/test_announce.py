"""What `bench` says before it starts: what it measures, how long that takes, and how to make it shorter."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Listener, Progress
from modelrepo.perf.announce import announce
from modelrepo.perf.bench import BenchOptions
from modelrepo.perf.measuring.target import Data
from modelrepo.perf.results.loads import Load
from modelrepo.perf.scenarios import scenario

OPTIONS = BenchOptions(
    mode="measure", models=("a",), url="grpc://here:8001", repository=Path("nowhere"), protocol="grpc",
    loads=tuple(Load(concurrency=number) for number in (1, 2, 4)), batch_sizes=(1,), rate=None,
    data=Data("random", {}), shared_memory="none", seconds=None, repeats=5, stability=10.0, slo=None, scenario=None,
    metrics_url=None, analyzer="auto", output=None,
)  # fmt: skip


class Shown(Listener):
    """Keeps the lines that are shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def shown(self, line: str) -> None:
        self.lines.append(line)


def announced(options: BenchOptions) -> list[str]:
    shown = Shown()
    announce(options, Progress(shown))
    return shown.lines


def test_the_plan_of_a_measurement() -> None:
    plan, shorter = announced(replace(OPTIONS, models=("a", "b"), seconds=3.0))
    runs = "45 runs of 3 s, about 2 min 50 s; at most 8 min 20 s, if all runs are repeated"
    assert plan == f"plan: 2 models, 3 loads, 5 rounds: {runs}"
    assert shorter.strip() == "shorter with --repeats and --duration; Ctrl-C keeps what was measured"


@pytest.mark.parametrize(
    ("name", "models", "expected"),
    [
        ("smoke", "a", "load test smoke (a little load), 1 model: 1 run, about 2 s"),
        ("ramp", "a", "load test ramp (ramp), 1 model: 9 runs, at most 33 s"),
        ("spike", "a", "load test spike (capacity, calm, burst, calm again), 1 model: 7 runs, about 46 s"),
        ("soak", "ab", "load test soak (capacity, soak), 2 models: 26 runs, about 24 min"),
        ("mixed", "ab", "load test mixed (capacity, all at once), 2 models at once: 5 runs, about 44 s"),
    ],
)
def test_the_plan_of_a_load_test(name: str, models: str, expected: str) -> None:
    options = replace(OPTIONS, mode="scenario", models=tuple(models), scenario=scenario.read(name))
    assert announced(options)[0] == f"plan: {expected}"


def test_a_given_rate_needs_no_capacity_and_a_given_length_counts() -> None:
    options = replace(OPTIONS, mode="scenario", scenario=scenario.read("soak"), rate=100.0, seconds=3600.0)
    assert announced(options)[0] == "plan: load test soak (soak), 1 model: 12 runs, about 72 min"


def test_the_plan_of_a_comparison_with_frameworks() -> None:
    options = replace(OPTIONS, mode="frameworks", batch_sizes=(1, 4), repeats=2)
    runs = "at most 12 runs of 3 s, 44 s, and the time to load the sources"
    assert announced(options)[0] == f"plan: 1 model, 2 batch sizes, 2 rounds: {runs}"


def test_nothing_is_planned_for_a_model_that_is_not_there(tmp_path: Path) -> None:
    shown = Shown()
    with pytest.raises(OptionError, match="has no model 'a'"):
        announce(replace(OPTIONS, url=None, repository=tmp_path), Progress(shown))
    assert shown.lines == []
