"""Load tests: reading their files, and their findings with a real Triton, perf_analyzer and canaries."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from modelrepo.clients.settings import parse_url
from modelrepo.generator.errors import OptionError, PerfError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import process
from modelrepo.generator.triton import releases
from modelrepo.perf.analyzer import find as analyzer
from modelrepo.perf.analyzer.export import is_own_failure
from modelrepo.perf.analyzer.run import Setting
from modelrepo.perf.measuring.rounds import Recorder
from modelrepo.perf.measuring.session import opened, prepared
from modelrepo.perf.measuring.target import Data, Target
from modelrepo.perf.results.loads import Load, Slo, parse_slo
from modelrepo.perf.results.results import (
    AnalyzerRun,
    ClientTime,
    Figures,
    Latency,
    MachineLoad,
    Measurement,
    ScenarioOutcome,
    ServerTime,
    Subject,
)
from modelrepo.perf.scenarios import findings, load_test, scenario
from modelrepo.perf.scenarios.canary import Canary, Judge, Seen
from modelrepo.perf.scenarios.findings import Played
from modelrepo.perf.scenarios.scenario import Phase
from tests.served_models import write_repository

GOLDEN = "messages/scenarios"
PHASE = '[[phases]]\nname = "one"\nseconds = 1\n'


# What the files say.


def test_the_built_in_scenarios_are_described() -> None:
    assert scenario.names() == ("mixed", "ramp", "smoke", "soak", "spike")
    for name in scenario.names():
        found = scenario.read(name)
        assert found.name == name
        assert found.description.count(" ") > 5
        assert "\n" not in found.description


def test_a_file_can_set_every_field_of_a_phase(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'description = "Mine."\narrivals = "poisson"\nslo = "p95:2ms"\n'
        f'{PHASE}rate = "62.5%"\nsegments = 4\n'
        '[[phases]]\nname = "two"\nseconds = 4\nconcurrency = "1:8"\nuntil = "saturated"\nslo = false\n'
        '[[phases]]\nname = "three"\nseconds = 5\nrate = 200\nrecovers = 2.5\n'
    )
    found = scenario.read(str(path))
    assert (found.name, found.description, found.arrivals) == ("mine", "Mine.", "poisson")
    assert found.slo == Slo("p95", 2000.0)
    assert found.phases == (
        Phase("one", 1.0, share=0.625, segments=4),
        Phase("two", 4.0, concurrency=(1, 2, 4, 8), until_saturated=True, judged=False),
        Phase("three", 5.0, rate=200.0, recovers=2.5),
    )
    assert [phase.run_seconds for phase in found.phases] == [0.25, 1.0, 5.0]
    assert [phase.seconds for phase in found.lasting(60).phases] == [6.0, 24.0, 30.0]
    path.write_text(f"together = true\n{PHASE}concurrency = 4\n")
    assert scenario.read(str(path)).together


BAD = {
    "no TOML": "phases = [",
    "no phases": 'description = "none"\n',
    "unknown key": f"arrival = 1\n{PHASE}rate = 1\n",
    "unknown key of a phase": f"{PHASE}rate = 1\nsegment = 2\n",
    "no name": "[[phases]]\nseconds = 1\nrate = 1\n",
    "no seconds": '[[phases]]\nname = "one"\nrate = 1\n',
    "no load": PHASE,
    "two loads": f"{PHASE}rate = 1\nconcurrency = 1\n",
    "seconds": '[[phases]]\nname = "one"\nseconds = 0\nrate = 1\n',
    "seconds as text": '[[phases]]\nname = "one"\nseconds = "1"\nrate = 1\n',
    "description": f"description = 3\n{PHASE}rate = 1\n",
    "arrivals": f'arrivals = "bursty"\n{PHASE}rate = 1\n',
    "slo": f'slo = "p99"\n{PHASE}rate = 1\n',
    "slo of a phase": f'{PHASE}rate = 1\nslo = "p99:1ms"\n',
    "together": f"together = 1\n{PHASE}rate = 1\n",
    "rate": f'{PHASE}rate = "fast"\n',
    "rate of nothing": f'{PHASE}rate = "0%"\n',
    "rate as truth": f"{PHASE}rate = true\n",
    "rate without end": f"{PHASE}rate = inf\n",
    "concurrency": f'{PHASE}concurrency = "8:1"\n',
    "concurrency too high": f"{PHASE}concurrency = 100000\n",
    "concurrency as fraction": f"{PHASE}concurrency = 1.5\n",
    "segments": f"{PHASE}rate = 1\nsegments = 0\n",
    "segments of a range": f'{PHASE}concurrency = "1:4"\nsegments = 2\n',
    "until": f'{PHASE}concurrency = "1:4"\nuntil = "tired"\n',
    "until with one load": f'{PHASE}concurrency = 4\nuntil = "saturated"\n',
    "until together": f'together = true\n{PHASE}concurrency = "1:4"\nuntil = "saturated"\n',
    "recovers": f"{PHASE}rate = 1\n[[phases]]\nname = 'two'\nseconds = 1\nrate = 1\nrecovers = 0.5\n",
    "recovers at first": f"{PHASE}rate = 1\nrecovers = 2\n",
    "one name twice": f"{PHASE}rate = 1\n{PHASE}rate = 2\n",
    "a name that is taken": '[[phases]]\nname = "capacity"\nseconds = 1\nrate = 1\n',
    "phases that are none": "phases = [1]\n",
}


def test_errors_in_a_file_are_named(workdir: Path, golden: Callable[[str, str], None]) -> None:
    said = []
    for what, text in BAD.items():
        Path("bad.toml").write_text(text)
        with pytest.raises(OptionError) as caught:
            scenario.read("bad.toml")
        said.append(f"{what}: {caught.value}\n")
    for reference in ("smok", "nowhere.toml", "."):
        with pytest.raises(OptionError) as caught:
            scenario.read(reference)
        said.append(f"{reference}: {caught.value}\n")
    golden(f"{GOLDEN}/bad.txt", "".join(said))


# What is found, from figures.

SUBJECT = Subject("linear", "1", "onnxruntime", None, "grpc")


def played(
    throughput: float | None,
    p99_ms: float = 1.0,
    *,
    phase: Phase | None = None,
    load: Load | None = None,
    failed: int = 0,
    requests: int = 9,
) -> Played:
    figures = None
    if throughput is not None:
        p99 = p99_ms * 1e3
        latency = Latency(p99, p99, p99, p99, p99)
        figures = Figures(throughput, latency, ServerTime(0, 0, 0, 0), ClientTime(0, 0, 0), requests)
    run = AnalyzerRun(
        subject=SUBJECT,
        load=load or Load(concurrency=1),
        round=1,
        command="",
        log="",
        figures=figures,
        windows=(),
        batches={},
        answered=9,
        failed=failed,
        machine=MachineLoad(0, 0, 0),
        metrics={},
        stable=True,
        reason="" if figures else "perf_analyzer: queue full",
    )
    phase = phase or Phase("ramp", 1.0, concurrency=(1, 2, 4, 8, 16, 32), until_saturated=True)
    return Played(phase, phase.name, run, Seen())


def ramp(*steps: tuple[float, float]) -> list[Played]:
    return [played(throughput, p99, load=Load(concurrency=2**number)) for number, (throughput, p99) in enumerate(steps)]


def test_a_ramp_ends_where_throughput_no_longer_grows() -> None:
    growing = ramp((100, 1), (190, 1), (300, 1))
    assert not findings.saturated(growing, None)
    assert not findings.saturated(ramp((100, 1), (190, 1), (180, 1), (300, 1)), None)
    assert findings.saturated(ramp((100, 1), (190, 1), (195, 2), (192, 4)), None)
    assert findings.saturated([*growing, played(None, failed=1)], None)


def test_a_ramp_ends_where_the_slo_stays_broken() -> None:
    slo = Slo("p99", 2000.0)
    assert not findings.saturated(ramp((100, 1), (200, 3)), slo)
    assert findings.saturated(ramp((100, 1), (200, 3), (400, 5)), slo)


def test_a_ramp_reports_the_knee_and_the_best_within_the_slo() -> None:
    steps = ramp((100, 1), (190, 1.5), (200, 3), (203, 6))
    assert findings.breaches(steps, Slo("p99", 2000.0)) == ()
    assert findings.remarks(steps, Slo("p99", 2000.0), ()) == (
        "linear, ramp: saturates at concurrency 2, 190/s with p99 1.5 ms; at 8 it is 203/s with p99 6 ms, and the "
        "maximum is 203/s",
        "linear, ramp: best throughput within p99 <= 2 ms: 190/s with p99 1.5 ms, at concurrency 2",
    )
    assert findings.breaches(steps, Slo("p99", 500.0)) == (
        "linear, ramp: no load keeps the SLO: p99 is 1 ms at best, where 0.5 ms is allowed",
    )
    (said,) = findings.remarks(ramp((100, 1), (190, 1.5)), None, ())
    assert said == "linear, ramp: did not saturate up to concurrency 2, 190/s with p99 1.5 ms"
    (said,) = findings.remarks(ramp((100, 3), (190, 4)), Slo("p99", 2000.0), ())
    assert said.startswith("linear, ramp: ended at concurrency 2, 190/s with p99 4 ms, as the SLO stayed broken")


def spike(*after_ms: float) -> list[Played]:
    calm, after = Phase("calm", 1.0, rate=50.0), Phase("after", 4.0, rate=50.0, segments=4, recovers=3.0)
    return [played(50, 2, phase=calm), *(played(50, p99, phase=after) for p99 in after_ms)]


def test_latency_may_take_a_moment_to_recover_but_must() -> None:
    assert findings.breaches(spike(900, 7, 5, 2), None) == ()
    assert "linear, after: p99 was back below 3 times the 2 ms before within 3 s" in findings.remarks(
        spike(900, 7, 5, 2), None, ()
    )
    assert findings.breaches(spike(900, 70, 50, 20), None) == (
        "linear, after: latency did not recover within 4 s: p99 is 20 ms, where 3 times the 2 ms before are allowed",
    )
    assert findings.breaches(spike(5, 5, 5, 5), Slo("p99", 4000.0))


def test_whether_latency_recovers_is_not_judged_before_its_time_is_over() -> None:
    assert findings.breaches(spike(900, 70, 50), None) == ()


def at_rate(rate: float, *answered: float, requests: int) -> list[Played]:
    load, phase = Load(request_rate=rate, arrivals="poisson"), Phase("soak", 4.0, rate=rate, segments=len(answered))
    return [played(each, phase=phase, load=load, requests=requests) for each in answered]


def test_a_rate_is_missed_if_chance_does_not_explain_it() -> None:
    assert not findings.remarks(at_rate(100, 90, 108, requests=100), None, ())
    assert not findings.remarks(at_rate(100, 80, requests=80), None, ())
    (said,) = findings.remarks(at_rate(100, 60, 64, requests=200), None, ())
    assert said == "linear, soak: only 62 of 100 requests/s were answered, with p99 1 ms at worst"
    (said,) = findings.remarks(at_rate(100, 1, requests=2), None, ())
    assert said == "linear, soak: only 1 of 100 requests/s were answered, with p99 1 ms"
    assert findings.remarks(at_rate(100, 94, requests=10**6), None, ())
    assert not findings.remarks(at_rate(100, 96, requests=10**6), None, ())


def test_drift_and_growth_are_reported() -> None:
    soak = Phase("soak", 6.0, rate=50.0, segments=6)
    steps = [replace(played(50, 1 + number, phase=soak), memory=10**8 + number * 10**7) for number in range(6)]
    assert findings.remarks(steps, None, ()) == (
        "linear, soak: p99 was 1.5 ms in the first third and 5.5 ms in the last (+267%)",
        "soak: the server held 100 MB after the first segment and 150 MB after the last (+50%)",
    )


def test_no_request_was_lost_if_perf_analyzer_itself_failed() -> None:
    hung = replace(played(None).run, failed=0, reason="perf_analyzer: no end after 30 seconds, so it was killed")
    assert is_own_failure(hung.reason)
    assert not is_own_failure("perf_analyzer: Exceeds maximum queue size")
    assert findings.analyzer_failed(hung)
    assert not findings.analyzer_failed(replace(hung, failed=1))
    steps = [replace(played(None), run=hung)]
    assert findings.breaches(steps, None) == (
        "linear, ramp: no figures: perf_analyzer: no end after 30 seconds, so it was killed",
    )
    again = [replace(played(100), discarded=(hung,))]
    assert findings.breaches(again, None) == ()
    assert any("perf_analyzer itself failed once, and ran again" in said for said in findings.remarks(again, None, ()))


# What the canary compares.


def judge(*answers: object) -> Judge:
    known = [{"output": np.asarray(answer)} for answer in answers]
    return Judge(replace(TARGET, answers=known))


TARGET = Target(SUBJECT, None, None, Path(), (), (), 0.0, 1)  # type: ignore[arg-type]


def test_floats_may_differ_by_rounding_and_nothing_else_may_differ() -> None:
    floats = judge(np.array([1.0, np.nan], "float32"), np.array([5.0, np.nan], "float32"))
    assert not floats.difference(0, {"output": np.array([1.00001, np.nan], "float32")})
    assert "differs by 0.5" in floats.difference(0, {"output": np.array([1.5, np.nan], "float32")})
    assert "differs by inf" in floats.difference(0, {"output": np.array([1.0, 1.0], "float32")})
    assert "is float32 [1]" in floats.difference(1, {"output": np.array([5.0], "float32")})
    assert "missing" in floats.difference(1, {})
    whole = judge(np.array([1, 2]), np.array([3, 4]))
    assert not whole.difference(2, {"output": np.array([1, 2])})
    assert whole.difference(1, {"output": np.array([3, 5])})
    texts = judge(np.array([b"a"], object))
    assert not texts.difference(0, {"output": np.array([b"a"], object)})
    assert texts.difference(0, {"output": np.array([b"b"], object)})


def test_a_command_can_be_stopped_from_another_thread() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(process.Stopped):
        process.run(["sleep", "60"], timeout=60, stop=stop)
    assert not running("sleep")


# What is found, in earnest.


@dataclass(frozen=True)
class Stage:
    setting: Setting
    targets: Sequence[Target]
    pid: int

    def play(
        self,
        which: str,
        *models: str,
        slo: str = "",
        seconds: float | None = None,
        base_rate: float | None = None,
        change: Callable[[Target], Target] = lambda target: target,
        recorder: Recorder | None = None,
    ) -> tuple[ScenarioOutcome, tuple[Measurement, ...], Recorder]:
        recorder = recorder or Recorder()
        targets = [change(target) for target in self.targets if target.subject.model in models]
        outcome, measurements = load_test.play(
            scenario.read(which),
            self.setting,
            targets,
            slo=parse_slo(slo) if slo else None,
            base_rate=base_rate,
            seconds=seconds,
            batch_size=1,
            recorder=recorder,
            progress=Progress(),
        )
        return outcome, measurements, recorder

    def elsewhere(self, folder: Path, script: str = "") -> "Stage":
        """Return the stage with a folder of its own, and perf_analyzer behind lines of a shell's."""
        (folder / "raw").mkdir()
        path, found = folder / "perf_analyzer.sh", self.setting.analyzer
        path.write_text(f'cd {folder}\n{script}\nexec "$@"\n')
        analyzer = replace(found, command=("sh", str(path), *found.command))
        return replace(self, setting=replace(self.setting, folder=folder, analyzer=analyzer))


@contextmanager
def staged(repository: Path, folder: Path, *models: str) -> Iterator[Stage]:
    for name in ("raw", "inputs"):
        (folder / name).mkdir(parents=True)
    progress = Progress()
    found = analyzer.find("auto", folder, progress, releases.release_named(releases.NEWEST))
    with opened(None, repository, models, "grpc", None, progress) as session:
        targets = prepared(session, models, repository, Data("random", {}), folder / "inputs", progress)
        assert session.local
        setting = Setting(found, session.client, session.metrics_url, folder, 1.0, 10.0)
        yield Stage(setting, targets, session.local.pid)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_repository(tmp_path_factory.mktemp("scenarios") / "models")
    shutil.copytree(folder / "linear", folder / "strict")
    policy = "dynamic_batching { max_queue_delay_microseconds: 100000 default_queue_policy { max_queue_size: 2 } }"
    text = (folder / "linear/config.pbtxt").read_text()
    (folder / "strict/config.pbtxt").write_text(
        text.replace('"linear"', '"strict"').replace("dynamic_batching { }", policy)
    )
    return folder


@pytest.fixture(scope="module")
def stage(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(repository, tmp_path_factory.mktemp("played"), "linear", "join", "strict") as found:
        yield found


def running(program: str) -> int:
    """Count the processes of a program that this one, or one of its children, has started."""
    found = 0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += child.name() == program
    return found


def nothing_is_left() -> bool:
    return not running("perf_analyzer") and not [each for each in threading.enumerate() if each.name == "canary"]


def counted(recorder: Recorder) -> list[AnalyzerRun]:
    """Return the runs without those that were repeated because perf_analyzer itself had failed."""
    return [run for run in recorder.runs if run.counts]


@contextmanager
def after(runs: int, recorder: Recorder, act: Callable[[], object]) -> Iterator[None]:
    """Act once beside a block: as soon as perf_analyzer runs again after a number of runs."""

    def follow() -> None:
        while not done.wait(0.02):
            if len(counted(recorder)) >= runs and running("perf_analyzer"):
                act()
                return

    done = threading.Event()
    watcher = threading.Thread(target=follow)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@pytest.fixture(autouse=True)
def every_interrupt_counts() -> Iterator[None]:
    """Replace the handler that a command in this process may have left: it takes two interrupts at once for one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_smoke_test_passes_if_every_model_answers_correctly(stage: Stage) -> None:
    outcome, measurements, recorder = stage.play("smoke", "linear", "join", seconds=1.0)
    assert outcome.breaches == ()
    assert (outcome.name, recorder.incomplete) == ("smoke", "")
    assert outcome.requests.answered == outcome.requests.sent > 10
    assert outcome.requests.checked >= 2
    assert (outcome.requests.failed, outcome.requests.wrong) == (0, 0)
    assert [(each.subject.model, each.phase) for each in measurements] == [
        ("linear", "a little load"),
        ("join", "a little load"),
    ]
    assert len(counted(recorder)) == 2
    assert nothing_is_left()


def test_a_wrong_answer_under_load_is_noticed(stage: Stage) -> None:
    def tampered(target: Target) -> Target:
        answers = [{name: array + 1 for name, array in answer.items()} for answer in target.answers]
        return replace(target, answers=answers)

    outcome, _, _ = stage.play("smoke", "linear", seconds=1.0, change=tampered)
    assert outcome.requests.wrong == outcome.requests.checked >= 1
    (breach,) = outcome.breaches
    assert breach.startswith("linear, a little load: ")
    assert "checked answers are wrong: output 'output' differs by 1 (limit " in breach


def test_answers_are_not_checked_if_none_is_known(stage: Stage) -> None:
    outcome, _, _ = stage.play(
        "smoke", "linear", seconds=0.5, change=lambda target: replace(target, rows=(), answers=())
    )
    assert outcome.requests.checked == 0
    assert "no answers of linear were checked: their input data is a file for perf_analyzer" in outcome.remarks
    assert not any("were compared" in remark for remark in outcome.remarks)


def test_an_error_of_the_canary_is_not_lost(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(Judge, "difference", broken)
    with pytest.raises(ZeroDivisionError):
        stage.play("smoke", "linear", seconds=1.0)
    with pytest.raises(ZeroDivisionError):
        stage.play("mixed", "linear", "join", seconds=3.0, base_rate=200.0)
    assert nothing_is_left()


def test_an_error_beside_a_canary_comes_before_the_canarys_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        asked.set()
        raise ZeroDivisionError

    def fail() -> None:
        with Canary(stage.targets[0]):
            assert asked.wait(10)
            raise LookupError

    asked = threading.Event()
    monkeypatch.setattr(Judge, "difference", broken)
    with pytest.raises(LookupError):
        fail()
    assert nothing_is_left()


def test_the_memory_of_another_program_is_not_the_servers(stage: Stage) -> None:
    assert load_test.server_memory(stage.targets[0].address)
    with socket.create_server(("127.0.0.1", 0)) as tunnel:
        assert load_test.server_memory(parse_url(f"grpc://127.0.0.1:{tunnel.getsockname()[1]}")) is None


def test_a_broken_slo_is_a_breach_that_says_by_how_much(stage: Stage) -> None:
    outcome, _, _ = stage.play("smoke", "linear", seconds=0.5, slo="p99:1us")
    (breach,) = outcome.breaches
    assert breach.startswith("linear, a little load: p99 is ")
    assert breach.endswith(" ms, where 0.001 ms is allowed")


def test_refused_requests_are_counted_as_lost(stage: Stage) -> None:
    outcome, measurements, _ = stage.play("ramp", "strict", seconds=4.0)
    assert outcome.requests.failed >= 1
    assert outcome.requests.sent == outcome.requests.answered + outcome.requests.failed
    assert "Exceeds maximum queue size" in outcome.breaches[0]
    assert "the rest of its load was not sent" in outcome.breaches[0]
    assert measurements[-1].figures is None


def test_a_refused_burst_does_not_end_the_spike(stage: Stage) -> None:
    outcome, measurements, _ = stage.play("spike", "strict", seconds=3.0, base_rate=400.0)
    assert [each.phase for each in measurements][-1] == "calm again 4 of 4"
    assert any(breach.startswith("strict, burst: ") and "Exceeds" in breach for breach in outcome.breaches)


def test_the_capacity_of_a_model_that_refuses_requests_is_measured_with_fewer(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "half.toml").write_text(f'{PHASE}rate = "50%"\n')
    outcome, measurements, _ = stage.play(str(tmp_path / "half.toml"), "strict")
    assert measurements[0].phase == "capacity"
    assert measurements[0].figures
    assert measurements[0].failed >= 1
    assert any(remark.startswith("strict: it refused requests at concurrency ") for remark in outcome.remarks)


def test_a_ramp_finds_where_a_model_saturates(stage: Stage) -> None:
    outcome, measurements, _ = stage.play("ramp", "linear", seconds=4.0, slo="p99:10s")
    assert outcome.breaches == ()
    assert [each.load.concurrency for each in measurements[:3]] == [1, 2, 4]
    assert any("saturates at concurrency" in remark or "did not saturate" in remark for remark in outcome.remarks)
    assert any("best throughput within p99 <= 10000 ms" in remark for remark in outcome.remarks)


def test_a_soak_has_its_segments_at_a_poisson_rate_below_capacity(stage: Stage) -> None:
    outcome, measurements, _ = stage.play("soak", "linear", seconds=4.0)
    assert outcome.breaches == ()
    assert [each.phase for each in measurements] == ["capacity", *(f"soak {number} of 12" for number in range(1, 13))]
    capacity = measurements[0].figures
    assert capacity
    assert measurements[1].load.request_rate == pytest.approx(capacity.throughput / 2, rel=0.01)
    assert "--request-distribution poisson" in measurements[1].commands[0]
    assert any("in the first third and" in remark for remark in outcome.remarks)
    assert any("the server held" in remark for remark in outcome.remarks)


def test_mixed_asks_all_models_at_the_same_time(stage: Stage) -> None:
    at_once = 0

    def look() -> None:
        nonlocal at_once
        while not done.wait(0.05):
            at_once = max(at_once, running("perf_analyzer"))

    done = threading.Event()
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        outcome, measurements, _ = stage.play("mixed", "linear", "join", seconds=2.0, base_rate=200.0)
    finally:
        done.set()
        watcher.join()
    assert at_once == 2
    assert {(each.subject.model, each.load.request_rate) for each in measurements} == {("linear", 50), ("join", 50)}
    assert outcome.breaches == ()


def test_rates_are_exact_and_shares_have_three_digits(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text(
        f'{PHASE}rate = 123.4567\n[[phases]]\nname = "two"\nseconds = 1\nrate = "50%"\n'
    )
    _, measurements, _ = stage.play(str(tmp_path / "rates.toml"), "linear", base_rate=246.913)
    assert [each.load.request_rate for each in measurements] == [123.4567, 123.0]


def test_a_model_that_is_measured_again_alone_is_marked(stage: Stage, tmp_path: Path) -> None:
    fails_late = """case "$*" in *" -m join "*)
    if mkdir once; then
        until ls raw/linear-*.log > /dev/null 2>&1; do sleep 0.05; done; sleep 0.5
        echo "No valid requests recorded" >&2; exit 1
    fi;; esac"""
    (tmp_path / "both.toml").write_text(f"together = true\n{PHASE}rate = 100\n")
    outcome, measurements, recorder = stage.elsewhere(tmp_path, fails_late).play(
        str(tmp_path / "both.toml"), "linear", "join"
    )
    assert {run.subject.model for run in counted(recorder)} == {"linear", "join"}
    (join,) = [each for each in measurements if each.subject.model == "join"]
    assert (join.stable, join.figures is None) == (False, False)
    # Where the run alone was unsteady besides, it has that for a reason.
    assert join.reason == "the others had ended" or "between windows" in join.reason
    assert any("perf_analyzer itself failed once" in remark for remark in outcome.remarks)


@pytest.mark.parametrize("which", ["smoke", "mixed"])
def test_an_interrupt_ends_it_at_once_and_leaves_nothing(which: str, stage: Stage) -> None:
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt), after(0, recorder, interrupt):
        stage.play(which, "linear", "join", seconds=60.0, base_rate=200.0, recorder=recorder)
    assert nothing_is_left()


@pytest.mark.parametrize(("which", "seconds", "runs"), [("smoke", 3.0, 1), ("mixed", 9.0, 2)])
def test_an_interrupt_keeps_the_findings(which: str, seconds: float, runs: int, stage: Stage) -> None:
    recorder = Recorder()
    with after(runs, recorder, interrupt):
        outcome, measurements, _ = stage.play(
            which, "linear", "join", seconds=seconds, base_rate=200.0, recorder=recorder
        )
    assert recorder.incomplete == "interrupted"
    assert len(measurements) == runs
    assert all(each.figures for each in measurements)
    assert outcome.breaches == ()
    assert nothing_is_left()


@pytest.mark.parametrize(("which", "seconds", "runs"), [("smoke", 3.0, 1), ("mixed", 9.0, 2)])
def test_an_error_keeps_the_findings(which: str, seconds: float, runs: int, stage: Stage, tmp_path: Path) -> None:
    recorder = Recorder()
    with after(runs, recorder, lambda: (tmp_path / "raw").rename(tmp_path / "gone")):
        outcome, measurements, _ = stage.elsewhere(tmp_path).play(
            which, "linear", "join", seconds=seconds, base_rate=200.0, recorder=recorder
        )
    assert recorder.incomplete.startswith(f"can't write {tmp_path}/raw/")
    assert len(measurements) == runs
    assert outcome.requests.answered > 0
    assert nothing_is_left()


def test_the_error_of_one_model_ends_the_others_and_is_raised(stage: Stage, tmp_path: Path) -> None:
    # linear comes first, and is stopped because of what happens to join.
    broken = stage.elsewhere(tmp_path, 'case "$*" in *" -m join "*) sleep 1; rm -r raw; exit 1;; esac')
    with pytest.raises(PerfError, match=r"can't write .*/raw/join"):
        broken.play("mixed", "linear", "join", seconds=180.0, base_rate=200.0)
    assert nothing_is_left()


def test_findings_are_kept_if_the_server_dies(repository: Path, tmp_path: Path) -> None:
    with staged(repository, tmp_path / "dying", "linear", "join") as dying:
        recorder = Recorder()
        with after(1, recorder, lambda: os.kill(dying.pid, signal.SIGKILL)):
            outcome, measurements, _ = dying.play("smoke", "linear", "join", seconds=2.0, recorder=recorder)
    assert recorder.incomplete.startswith("the server no longer answers, in a little load; perf_analyzer: ")
    assert [each.figures is None for each in measurements] == [False, True]
    assert any(breach.startswith("join, a little load: ") for breach in outcome.breaches)
    assert outcome.requests.failed >= 1
    assert nothing_is_left()
