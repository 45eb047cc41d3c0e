"""A run counts if it was steady on an undisturbed machine; others are repeated, and marked if that does not help."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.progress import Listener, Progress
from modelrepo.perf.measuring import rounds
from modelrepo.perf.measuring.plan import TRIES
from modelrepo.perf.results.compare import compare_subjects
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, MachineLoad
from tests.perf.results.test_compare import A, B, run

CALM, DISTURBED = MachineLoad(0.0, 0.5, 1.0), MachineLoad(0.3, 0.9, 2.0)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[AnalyzerRun]:
    """Return the runs that perf_analyzer will give, one after the other."""
    runs: list[AnalyzerRun] = []
    monkeypatch.setattr(rounds, "run", lambda *arguments: runs.pop(0))
    monkeypatch.setattr(rounds, "request_of", lambda *arguments: None)
    monkeypatch.setattr(rounds, "is_there", lambda client: True)
    return runs


def settle(recorder: rounds.Recorder) -> AnalyzerRun:
    nothing: Any = type("Setting", (), {"client": None, "folder": Path()})()
    return rounds.settled(nothing, rounds.Slot(nothing_target()), Load(1, concurrency=4), 1, recorder, Progress())


def nothing_target() -> Any:
    return type("Target", (), {"subject": A})()


def test_a_disturbed_run_is_repeated(found: list[AnalyzerRun]) -> None:
    found += [replace(run(A, 1, 50.0), machine=DISTURBED), replace(run(A, 1, 100.0), machine=CALM)]
    recorder = rounds.Recorder()
    kept = settle(recorder)
    assert (kept.stable, [each.counts for each in recorder.runs]) == (True, [False, True])
    (measurement,) = recorder.measurements()
    assert measurement.discarded == 1
    assert [repeat.throughput for repeat in measurement.repeats] == [100.0]


def test_a_machine_that_stays_disturbed_makes_a_measurement_unstable(found: list[AnalyzerRun]) -> None:
    found += [replace(run(A, 1, 50.0), machine=DISTURBED)] * 3
    recorder = rounds.Recorder()
    settle(recorder)
    (measurement,) = recorder.measurements()
    assert not measurement.stable
    assert measurement.reason == "other guests took 30% of the CPU time"
    assert measurement.figures


LOADS = Load(1, concurrency=4), Load(1, concurrency=8)


class Told(Listener):
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.remarks: list[str] = []
        self.lines: list[str] = []

    def finished(self, title: str, seconds: float, outcome: str) -> None:
        self.steps.append((title, outcome))

    def noted(self, remark: str) -> None:
        self.remarks.append(remark)

    def shown(self, line: str) -> None:
        self.lines.append(line.strip())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int]]:
    """Measure made-up figures; return the rounds, models and concurrencies in the order of their runs."""
    order: list[tuple[int, str, int]] = []

    def measured(setting: Any, target: Any, load: Load, number: int, again: bool) -> AnalyzerRun:
        assert load.concurrency
        if len(order) == setting.interrupted_after:
            raise KeyboardInterrupt
        order.append((number, target.subject.model, load.concurrency))
        steady = (target.subject.model, load.concurrency) not in setting.unsteady
        reason = "" if steady else "unsteady"
        found = run(target.subject, number, 100.0, again, load=load, stable=steady, reason=reason)
        if (target.subject.model, load.concurrency) in setting.refused:
            return replace(found, figures=None, stable=False, reason="refused")
        return found

    monkeypatch.setattr(rounds, "run", measured)
    monkeypatch.setattr(rounds, "request_of", lambda setting, target, load: load)
    monkeypatch.setattr(rounds, "is_there", lambda client: True)
    return order


def measured_by(
    listener: Listener,
    *,
    unsteady: tuple[tuple[str, int], ...] = (),
    refused: tuple[tuple[str, int], ...] = (),
    interrupted_after: int = -1,
) -> rounds.Recorder:
    values = {"unsteady": unsteady, "refused": refused, "interrupted_after": interrupted_after}
    setting: Any = type("Setting", (), {"client": None, "seconds": 1.0, **values})()
    targets: Any = [type("Target", (), {"subject": each, "seconds": 0.001})() for each in (A, B)]
    recorder = rounds.Recorder()
    rounds.measure(setting, targets, rounds.Schedule(LOADS, 3), recorder, Progress(listener))
    return recorder


def test_each_round_has_all_loads_and_ends_with_the_standing(asked: list[tuple[int, str, int]]) -> None:
    told = Told()
    measured_by(told)
    assert asked[:6] == [(1, "a", 4), (1, "b", 4), (1, "a", 4), (1, "a", 8), (1, "b", 8), (1, "a", 8)]
    assert [title for title, _ in told.steps] == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]
    assert "too early for a verdict" in told.steps[0][1]
    assert "too early" not in told.steps[1][1]
    verdict = "b: p50 1.00x (1.00 to 1.00) noise, samples/s 1.00x (1.00 to 1.00) noise"
    assert told.lines == ["b: p50 1.00x, samples/s 1.00x", verdict, verdict]


def test_while_it_runs_it_says_what_is_measured_and_how_long_all_takes(asked: list[tuple[int, str, int]]) -> None:
    told = Told()
    measured_by(told)
    assert re.fullmatch(r"a at concurrency 4, \d+ s of about \d+ s", told.remarks[0])
    assert len(told.remarks) == len(asked) == 18


def test_where_repeating_did_not_help_later_runs_are_not_repeated(asked: list[tuple[int, str, int]]) -> None:
    told = Told()
    recorder = measured_by(told, unsteady=(("b", 8),))
    assert told.remarks.count("b at concurrency 8, once more: unsteady") == TRIES - 1
    assert asked.count((1, "b", 8)) == TRIES
    assert asked.count((2, "b", 8)) == asked.count((3, "b", 8)) == 1
    (unstable,) = (each for each in recorder.measurements() if not each.stable)
    assert (unstable.subject, unstable.discarded, len(unstable.repeats)) == (B, TRIES - 1, 3)


def test_an_interrupt_keeps_what_was_measured_under_every_load(asked: list[tuple[int, str, int]]) -> None:
    recorder = measured_by(Told(), interrupted_after=13)
    assert recorder.incomplete == rounds.INTERRUPTED
    assert {(each.subject.model, each.load) for each in recorder.measurements()} == set(product("ab", LOADS))
    assert all(each.ratio for each in compare_subjects(recorder.runs, LOADS, [A, B]))


def test_an_interrupt_before_the_first_run_ends_is_raised(asked: list[tuple[int, str, int]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        measured_by(Told(), interrupted_after=0)


def test_a_model_without_figures_is_not_asked_again_under_that_load(asked: list[tuple[int, str, int]]) -> None:
    recorder = measured_by(Told(), refused=(("b", 8),))
    assert asked.count((1, "b", 8)) == TRIES
    assert not [each for each in asked if each[0] > 1 and each[1:] == ("b", 8)]
    assert [each.figures is None for each in recorder.measurements()] == [False, False, False, True]
