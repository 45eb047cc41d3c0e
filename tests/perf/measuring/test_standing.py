"""After each round one line says how the models stand, and only with an interval it gives a verdict."""

from dataclasses import replace

from modelrepo.perf.measuring.standing import standing
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun
from tests.perf.results.test_compare import A, B, rounds, run


def test_after_one_round_there_are_ratios_and_no_verdict() -> None:
    heading, lines = standing(rounds([190.0], [100.0], [90.0]), [A, B])
    assert heading == "against a, p50 at concurrency 4, samples/s at concurrency 4; too early for a verdict"
    assert lines == ["b: p50 0.50x, samples/s 2.00x"]


def test_after_two_rounds_there_are_intervals_and_verdicts() -> None:
    heading, lines = standing(rounds([200.0, 202.0], [100.0, 100.0], [100.0, 101.0]), [A, B])
    assert heading == "against a, p50 at concurrency 4, samples/s at concurrency 4"
    assert lines == ["b: p50 0.50x (0.48 to 0.51) better, samples/s 2.00x (1.94 to 2.07) better"]
    _, same = standing(rounds([100.0, 101.0], [100.0, 100.0], [100.0, 102.0]), [A, B])
    assert same[0].endswith(" noise")


def test_latency_is_that_of_the_first_load_and_throughput_where_the_first_model_answers_most() -> None:
    light = [replace(each, load=Load(concurrency=1)) for each in rounds([50.0], [60.0], [60.0])]
    heavy = rounds([100.0], [80.0], [80.0])
    heading, lines = standing([*light, *heavy], [A, B])
    assert heading.startswith("against a, p50 at concurrency 1, samples/s at concurrency 4;")
    assert lines == ["b: p50 1.20x, samples/s 1.25x"]


def test_at_a_fixed_rate_only_the_latency_is_compared() -> None:
    paced = [replace(each, load=Load(request_rate=10)) for each in rounds([200.0], [100.0], [100.0])]
    heading, lines = standing(paced, [A, B])
    assert heading == "against a, p99 at 10 requests/s; too early for a verdict"
    assert lines == ["b: p99 0.50x"]


def test_one_model_has_its_best_figures() -> None:
    runs = [run(A, 1, 100.0), replace(run(A, 1, 250.0), load=Load(1, concurrency=8))]
    assert standing(runs, [A]) == ("best so far: 250 samples/s at concurrency 8, p99 4.00 ms", [])


def test_runs_that_were_repeated_do_not_count() -> None:
    runs = [replace(run(A, 1, 900.0), counts=False), run(A, 1, 100.0)]
    assert standing(runs, [A]) == ("100 samples/s at concurrency 4, p99 10.0 ms", [])


def test_without_figures_nothing_is_said() -> None:
    failed = replace(run(A, 1, 1.0), figures=None)
    assert standing([], [A]) == ("", [])
    assert standing([failed], [A, B]) == ("", [])
    runs: list[AnalyzerRun] = [run(A, 1, 100.0), run(A, 1, 100.0, again=True), replace(run(B, 1, 1.0), figures=None)]
    assert standing(runs, [A, B])[1] == ["b: p50 without figures, samples/s without figures"]
