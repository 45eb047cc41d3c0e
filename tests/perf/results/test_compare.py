"""A difference is distinguished from noise by its interval over rounds, and by a model's difference from itself."""

import math
from dataclasses import replace
from typing import Any

import pytest

from modelrepo.perf.results.compare import compare_results, compare_subjects, differences, ratio_of, verdict_of
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import (
    AnalyzerRun,
    ClientTime,
    Figures,
    Latency,
    MachineLoad,
    Measurement,
    Ratio,
    Repeat,
    Results,
    ServerTime,
    Subject,
)

A, B = (Subject(name, "1", "onnxruntime", "fp32", "grpc") for name in "ab")
LOAD = Load(1, concurrency=4)
CALM = MachineLoad(0.0, 0.5, 1.0)


def latency(milliseconds: float) -> Latency:
    return Latency(*[milliseconds * 1e3] * 5)


def run(subject: Subject, number: int, rate: float, again: bool = False, **more: Any) -> AnalyzerRun:
    figures = Figures(rate, latency(1e3 / rate), ServerTime(0, 0, 0, 0), ClientTime(0, 0, 0), 100)
    values = {"load": LOAD, "stable": True, **more}
    return AnalyzerRun(subject=subject, round=number, command="", log="", figures=figures, windows=(), batches={},
                       answered=100, failed=0, machine=CALM, metrics={}, again=again, **values)  # fmt: skip


def rounds(own: list[float], base: list[float], again: list[float], **more: Any) -> list[AnalyzerRun]:
    return [
        each
        for number, (b, a, twice) in enumerate(zip(own, base, again, strict=True), 1)
        for each in (run(A, number, a), run(B, number, b, **more), run(A, number, twice, again=True))
    ]


def test_a_ratio_and_its_inverse_agree() -> None:
    pairs = [(2.0, 1.0), (2.2, 1.0), (1.9, 1.0), (2.1, 1.0)]
    ratio, inverse = ratio_of(pairs), ratio_of([(b, a) for a, b in pairs])
    assert ratio
    assert inverse
    assert ratio.value * inverse.value == pytest.approx(1)
    assert ratio.low * inverse.high == pytest.approx(1)


def test_the_interval_is_students() -> None:
    ratio = ratio_of([(math.e**x, 1.0) for x in (0.1, 0.2, 0.3)])
    assert ratio
    # mean 0.2, deviation 0.1, t = 4.303 for two degrees of freedom
    assert math.log(ratio.high) == pytest.approx(0.2 + 4.303 * 0.1 / math.sqrt(3))


def test_one_round_has_no_interval() -> None:
    assert ratio_of([(2.0, 1.0)]) is None
    assert {each.verdict for each in compare_subjects(rounds([2], [1], [1]), [LOAD], [A, B])} == {"unknown"}


def test_a_clear_difference_is_reported_with_its_direction() -> None:
    found = compare_subjects(rounds([200, 204, 198, 202], [100, 101, 99, 100], [101, 100, 99, 100]), [LOAD], [A, B])
    assert [(each.metric, each.verdict) for each in found] == [
        ("throughput", "better"), ("p50", "better"), ("p99", "better"),
    ]  # fmt: skip
    assert found[0].ratio
    assert found[0].ratio.value == pytest.approx(2.0, rel=0.02)


def test_a_difference_within_that_of_the_baseline_from_itself_is_noise() -> None:
    runs = rounds([110, 110.5, 109.5, 110], [100, 100, 100, 100], [115, 116, 114, 115])
    assert compare_subjects(runs, [LOAD], [A, B])[0].verdict == "noise"


def test_a_difference_that_comes_and_goes_is_noise() -> None:
    runs = rounds([120, 80, 130, 90], [100, 100, 100, 100], [100, 100, 100, 100])
    assert compare_subjects(runs, [LOAD], [A, B])[0].verdict == "noise"


def test_runs_that_were_repeated_do_not_count() -> None:
    runs = [*rounds([200, 200], [100, 100], [100, 100]), run(B, 1, 1.0, counts=False)]
    found = compare_subjects(runs, [LOAD], [A, B])[0]
    assert found.ratio
    assert found.ratio.value == pytest.approx(2.0)


def test_a_comparison_of_unsteady_runs_says_so() -> None:
    assert not compare_subjects(rounds([2, 2], [1, 1], [1, 1], stable=False), [LOAD], [A, B])[0].stable


def test_only_the_same_load_is_compared() -> None:
    runs = [run(A, 1, 100), run(A, 1, 100, again=True), run(B, 1, 50, load=Load(1, concurrency=8))]
    assert compare_subjects(runs, [LOAD], [A, B])[0].ratio is None


@pytest.mark.parametrize(
    ("metric", "value", "found"), [("throughput", 1.3, "better"), ("throughput", 0.7, "worse"), ("p99", 1.3, "worse")]
)
def test_more_throughput_is_better_and_more_latency_is_worse(metric: str, value: float, found: str) -> None:
    ratio = Ratio(value, value * 0.99, value * 1.01)
    assert verdict_of(metric, ratio, Ratio(1.0, 0.98, 1.02)) == found  # type: ignore[arg-type]


def results(rates: list[float], subject: Subject = A, environment: dict[str, object] | None = None) -> Results:
    repeats = tuple(Repeat(rate, latency(1e3 / rate)) for rate in rates)
    figures = run(subject, 1, rates[0]).figures
    measurement = Measurement(subject, LOAD, figures, repeats, 0, True, 0, {}, CALM, {}, ())
    return Results("2026-11-21", environment or {}, (measurement,))


def test_changes_between_two_results_are_reported() -> None:
    throughput, p50, p99 = compare_results(results([100, 101, 99]), results([150, 151, 149]))
    assert (throughput.verdict, p50.verdict, p99.verdict) == ("better", "better", "better")
    assert throughput.ratio
    assert throughput.ratio.low < 1.5 < throughput.ratio.high
    assert compare_results(results([100, 101, 99]), results([100, 99, 101]))[0].verdict == "noise"


def test_models_of_only_one_of_the_results_are_left_out() -> None:
    assert compare_results(results([100, 101]), results([100, 101], B)) == ()


def test_versions_are_compared_with_themselves_if_both_results_have_them() -> None:
    one, two = replace(A, version="1"), replace(A, version="2")
    both = replace(results([100, 101], one), measurements=(
        *results([100, 101], one).measurements, *results([200, 201], two).measurements))  # fmt: skip
    pairs = [(each.baseline.version, each.subject.version) for each in compare_results(both, both)]
    assert set(pairs) == {("1", "1"), ("2", "2")}
    pairs = [(each.baseline.version, each.subject.version) for each in compare_results(results([1, 2], one), both)]
    assert set(pairs) == {("1", "1")}
    (first, *_) = compare_results(results([100, 101], one), results([100, 101], two))
    assert (first.baseline.version, first.subject.version) == ("1", "2")


def test_without_a_second_round_the_verdict_is_unknown() -> None:
    assert {each.verdict for each in compare_results(results([100]), results([200]))} == {"unknown"}


def test_a_models_differences_from_round_to_round_are_noise() -> None:
    restless = [100.0, 140.0, 100.0, 140.0, 100.0, 140.0]
    (throughput, *_) = compare_results(results(restless), results([rate * 1.1 for rate in restless]))
    assert throughput.noise
    assert throughput.verdict == "noise"


def test_an_unbounded_interval_can_be_computed() -> None:
    ratio = ratio_of([(1e15, 1e-15), (1e-15, 1e15)])
    assert ratio
    assert 0 < ratio.low < ratio.high < math.inf


def test_a_different_machine_is_reported() -> None:
    before = {"machine": {"cpu": "x", "cores": 2}}
    assert list(differences(before, {"machine": {"cpu": "y", "cores": 2}})) == ["machine.cpu: x before, y after"]


def test_the_ports_of_local_servers_are_no_difference() -> None:
    one, two = ({"server": {"local": local, "url": url}} for local, url in ((True, "a"), (True, "b")))
    assert list(differences(one, two)) == []
    assert list(differences(one, {"server": {"local": False, "url": "b"}})) != []
