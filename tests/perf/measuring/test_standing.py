"""After each round one line says how the models stand, and only with an interval it gives a verdict."""

from dataclasses import replace

from modelrepo.perf.measuring.standing import standing
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun
from tests.perf.results.test_compare import LOAD, A, B, rounds, run


def test_after_one_round_there_is_a_ratio_and_no_verdict() -> None:
    runs = rounds([190.0], [100.0], [90.0])
    expected = "samples/s at concurrency 4, against a: b 2.00x; too early for a verdict"
    assert standing(runs, [A, B]) == expected


def test_after_two_rounds_there_is_an_interval_and_a_verdict() -> None:
    runs = rounds([200.0, 202.0], [100.0, 100.0], [100.0, 101.0])
    assert standing(runs, [A, B]) == "samples/s at concurrency 4, against a: b 2.00x (1.94 to 2.07) better"
    same = rounds([100.0, 101.0], [100.0, 100.0], [100.0, 102.0])
    assert standing(same, [A, B]).endswith("no more than noise")


def test_the_load_is_the_one_where_the_first_model_answers_most() -> None:
    light = [replace(each, load=Load(concurrency=1)) for each in rounds([50.0], [60.0], [60.0])]
    heavy = rounds([100.0], [50.0], [50.0])
    assert standing([*light, *heavy], [A, B]).startswith("samples/s at concurrency 1, against a: b 0.83x")


def test_at_a_fixed_rate_the_latency_is_compared() -> None:
    paced = [replace(each, load=Load(request_rate=10)) for each in rounds([200.0], [100.0], [100.0])]
    assert standing(paced, [A, B]) == "p99 at 10 requests/s, against a: b 0.50x; too early for a verdict"


def test_one_model_has_its_best_figures() -> None:
    runs = [run(A, 1, 100.0), replace(run(A, 1, 250.0), load=Load(1, concurrency=8))]
    assert standing(runs, [A]) == "best so far: 250 samples/s at concurrency 8, p99 4.00 ms"


def test_runs_that_were_repeated_do_not_count() -> None:
    assert standing([replace(run(A, 1, 900.0), counts=False), run(A, 1, 100.0)], [A]).startswith("100 samples/s")


def test_without_figures_nothing_is_said() -> None:
    failed = replace(run(A, 1, 1.0), figures=None)
    assert standing([], [A]) == ""
    assert standing([failed], [A, B]) == ""
    runs: list[AnalyzerRun] = [run(A, 1, 100.0), run(A, 1, 100.0, again=True), replace(run(B, 1, 1.0), figures=None)]
    assert standing(runs, [A, B]) == f"samples/s at {LOAD}, against a: b without figures; too early for a verdict"
