"""A run counts if it was steady on an undisturbed machine; others are repeated, and marked if that does not help."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.progress import Progress
from modelrepo.perf.measuring import rounds
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, MachineLoad
from tests.perf.results.test_compare import A, run

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
