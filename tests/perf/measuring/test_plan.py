"""How long measuring takes is said before it starts, and corrected by the runs so far."""

from typing import Any

import pytest

from modelrepo.perf.measuring import plan
from modelrepo.perf.results.loads import Load

ONE, EIGHT = Load(concurrency=1), Load(concurrency=8)


def target(seconds: float, *, asked: bool = True) -> Any:
    """Return a model that answers a request in so many seconds."""
    return type("Target", (), {"seconds": seconds, "rows": ({},) if asked else ()})()


def test_several_models_have_one_run_more_in_each_round_for_the_noise() -> None:
    assert plan.from_settings(models=1, loads=5, rounds=5, seconds=3).runs == 25
    assert plan.from_settings(models=3, loads=2, rounds=5, seconds=3).runs == 40


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((3, 2, 5, 3.0), "40 runs of 3 s, about 2 min 30 s; at most 7 min 20 s"),
        ((3, 2, 5, None), "40 runs of 1 to 3 s, 52 s to 2 min 30 s; at most 7 min 20 s"),
        ((1, 1, 1, 0.3), "1 run of 0.3 s, about 1 s; at most 1 s"),
        ((2, 5, 100, 60.0), "1,500 runs of 60 s, about 30 h; at most 90 h"),
    ],
)
def test_the_settings_alone_give_an_estimate(settings: tuple[int, int, int, float | None], words: str) -> None:
    assert str(plan.from_settings(*settings)) == f"{words}, if all runs are repeated"


def test_runs_of_slow_models_are_longer_and_the_estimate_says_so() -> None:
    fast, slow = target(0.0005), target(2.0)
    assert str(plan.from_targets([fast], [ONE, EIGHT], 5, 1.0)).startswith("10 runs of 1 s, about 13 s; at most 39 s")
    # At least five requests of 2 s in each of three windows; the first model twice in a round.
    assert str(plan.from_targets([fast, slow], [ONE], 2, 1.0)).startswith("6 runs of 1 to 30 s, about 1 min 20 s; ")


def test_the_estimate_from_models_is_that_from_settings_if_no_model_is_slow() -> None:
    fast = target(0.0005)
    assert plan.from_targets([fast, fast], [ONE, EIGHT], 3, 2.0) == plan.from_settings(2, 2, 3, 2.0)


@pytest.mark.parametrize(("request_seconds", "run_seconds"), [(0.0003, 1.0), (0.0041, 2.0), (0.5, 3.0)])
def test_a_run_is_shorter_for_models_that_answer_many_requests_in_it(
    request_seconds: float, run_seconds: float
) -> None:
    assert plan.usual_seconds([target(0.0001), target(request_seconds)], [ONE]) == run_seconds


def test_few_requests_a_second_and_large_batches_need_longer_runs() -> None:
    assert plan.usual_seconds([target(0.0001)], [Load(request_rate=250)]) == 2.0
    assert plan.usual_seconds([target(0.0001)], [Load(32, concurrency=1)]) == 2.0


def test_a_model_of_unknown_speed_has_the_longest_runs() -> None:
    assert plan.usual_seconds([target(0.0, asked=False)], [ONE]) == 3.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (147, "2 min 30 s"), (594, "9 min 50 s"), (596, "10 min"),
     (3599, "60 min"), (7200, "2 h"), (7260, "2 h 1 min"), (604800, "168 h")],
)  # fmt: skip
def test_times_are_as_precise_as_an_estimate(seconds: float, words: str) -> None:
    assert plan.in_time(seconds) == words


@pytest.fixture
def now() -> list[float]:
    """Return the time, which only the test moves."""
    return [100.0]


def test_what_is_left_is_scaled_by_the_time_so_far(now: list[float]) -> None:
    clock = plan.Clock(100.0, lambda: now[0])
    assert str(clock) == "1 s of about 1 min 40 s"
    now[0] += 90.0
    clock.done(40.0)  # many runs were repeated: twice as long, with a tenth of the plan that is believed
    assert str(clock) == "1 min 30 s of about 3 min 30 s"
    clock.left_out(30.0)
    assert str(clock) == "1 min 30 s of about 2 min 30 s"


def test_one_run_that_was_repeated_says_little_about_the_others(now: list[float]) -> None:
    clock = plan.Clock(100.0, lambda: now[0])
    now[0] += 6.0
    clock.done(2.0)
    assert str(clock) == "6 s of about 2 min 20 s"


def test_a_run_that_hangs_takes_at_least_as_long_as_it_took(now: list[float]) -> None:
    clock = plan.Clock(10.0, lambda: now[0])
    clock.done(12.0)  # a step that is not in the plan
    now[0] += 200.0
    assert str(clock) == "3 min 20 s of about 3 min 20 s"
