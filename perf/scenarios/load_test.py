"""Runs a load test: phase after phase with perf_analyzer, model after model or all at once, beside canaries.

Shares such as ``rate = "70%"`` refer to the capacity, which is measured first by a short run that keeps the model busy.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

from modelrepo.clients.settings import Address
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.extras import BENCH, need
from modelrepo.generator.system.process import Stopped
from modelrepo.perf.analyzer.command import WINDOWS
from modelrepo.perf.analyzer.run import Setting, request_of, run, window_seconds
from modelrepo.perf.measuring import machine
from modelrepo.perf.measuring.plan import Clock, taken
from modelrepo.perf.measuring.rounds import INTERRUPTED, SERVER_GONE, Recorder
from modelrepo.perf.measuring.summary import summarise
from modelrepo.perf.measuring.target import Target, is_there
from modelrepo.perf.results.loads import Load, Slo
from modelrepo.perf.results.results import AnalyzerRun, Measurement, ScenarioOutcome, Subject
from modelrepo.perf.scenarios import findings
from modelrepo.perf.scenarios.canary import Canary
from modelrepo.perf.scenarios.findings import Played
from modelrepo.perf.scenarios.scenario import CAPACITY, Phase, Scenario

CAPACITY_SECONDS = 3.0
# For a scenario that is shortened, measuring the capacity takes at most this share of its time in addition.
CAPACITY_SHARE = 0.25
# One batch in execution and one waiting keep an instance busy; models that do not batch may have several instances.
CAPACITY_CONCURRENCY = (8, 64)
SHORTEST_RUN = 0.2
TRIES = 3
SERVER = "tritonserver"
ALONE = "the others had ended"


def runs_of(phase: Phase) -> list[float]:
    """Return how many seconds each run of a phase takes, if the model is not so slow that it needs longer ones."""
    return [taken(max(SHORTEST_RUN, phase.run_seconds))] * phase.steps


def capacity_of(scenario: Scenario, base_rate: float | None) -> Phase | None:
    """Return the phase that finds a model's capacity, None if the scenario needs none."""
    if base_rate or not any(phase.share for phase in scenario.phases):
        return None
    return Phase(CAPACITY, min(CAPACITY_SECONDS, CAPACITY_SHARE * scenario.seconds), judged=False)


def planned(scenario: Scenario, models: int, base_rate: float | None) -> list[float]:
    """Return how many seconds each run of a load test takes."""
    capacity = capacity_of(scenario, base_rate)
    found = models * runs_of(capacity) if capacity else []
    turns = 1 if scenario.together else models
    return found + turns * [seconds for phase in scenario.phases for seconds in runs_of(phase)]


def play(
    scenario: Scenario,
    setting: Setting,
    targets: Sequence[Target],
    *,
    slo: Slo | None,
    base_rate: float | None,
    seconds: float | None,
    batch_size: int,
    recorder: Recorder,
    progress: Progress,
) -> tuple[ScenarioOutcome, tuple[Measurement, ...]]:
    """Run a load test, and return its outcome and a measurement for each step of a phase.

    ``slo`` replaces the scenario's own. ``base_rate`` is the meaning of 100 %, in requests a second; without it each
    model's capacity is measured. ``seconds`` is the length of the whole scenario, for each model if they are not asked
    together. After an interrupt, an error, or the death of the server, ``recorder.incomplete`` says why, and the
    findings until then are returned. An interrupt and an error are raised only if no step has run before.
    """
    playing = scenario.lasting(seconds)
    clock = Clock(sum(planned(playing, len(targets), base_rate)))
    player = _Player(playing, setting, slo or scenario.slo, base_rate, batch_size, recorder, progress, clock)
    try:
        for group in [targets] if scenario.together else [[target] for target in targets]:
            player.play(group)
            if recorder.incomplete:
                break
    except KeyboardInterrupt:
        recorder.incomplete = INTERRUPTED
        if not player.played:
            raise
    except ModelRepoError as error:
        recorder.incomplete = str(error)
        if not player.played:
            raise
    outcome = ScenarioOutcome(
        name=scenario.name,
        description=scenario.description,
        requests=findings.requests(player.played),
        breaches=findings.breaches(player.played, player.slo),
        remarks=(*player.remarks, *findings.remarks(player.played, player.slo, targets)),
    )
    return outcome, _measurements(player.played)


def _measurements(played: Sequence[Played]) -> tuple[Measurement, ...]:
    keys = dict.fromkeys((each.label, each.run.subject, each.run.load) for each in played)
    return tuple(
        summarise(
            [
                run
                for each in played
                if (each.label, each.run.subject, each.run.load) == key
                for run in (each.run, *each.discarded)
            ],
            key[0],
        )
        for key in keys
    )


class _Player:
    """Runs the steps of a scenario and keeps their results, so that an interrupt loses none of them."""

    def __init__(
        self,
        scenario: Scenario,
        setting: Setting,
        slo: Slo | None,
        base_rate: float | None,
        batch_size: int,
        recorder: Recorder,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self.scenario, self.setting, self.slo = scenario, setting, slo
        self.base_rate, self.batch_size = base_rate, batch_size
        self.recorder, self.progress, self.clock = recorder, progress, clock
        self.played: list[Played] = []
        self.remarks: list[str] = []
        self._capacity: dict[Subject, float] = {}
        self._steps = 0
        self._ended = threading.Event()  # a model has finished the step

    def play(self, group: Sequence[Target]) -> None:
        """Run all phases with these models at the same time."""
        if any(phase.share for phase in self.scenario.phases):
            for target in group:
                self._find_capacity(target)
            group = [target for target in group if target.subject in self._capacity]
        for phase in self.scenario.phases:
            if self.recorder.incomplete or not group:
                return
            self._play_phase(phase, group)

    def _find_capacity(self, target: Target) -> None:
        if self.base_rate:
            self._capacity[target.subject] = self.base_rate
            return
        if self.recorder.incomplete:
            return
        found = self._busy(target)
        if found.run.figures:
            rate = self._capacity[target.subject] = found.run.figures.throughput / self.batch_size
            meaning = f"100 % is {findings.three(rate)} requests/s, as answered at {found.run.load}"
            self.remarks.append(f"{target.subject.model}: {meaning}")

    def _busy(self, target: Target) -> Played:
        """Keep a model as busy as it allows: halve the requests in flight for one that refuses some."""
        low, high = CAPACITY_CONCURRENCY
        concurrency = min(high, max(low, 2 * target.model.max_batch_size // self.batch_size))
        capacity = capacity_of(self.scenario, self.base_rate)
        assert capacity  # noqa: S101 - it was asked for
        refused: list[AnalyzerRun] = []
        while True:
            (found,) = self._play_phase(replace(capacity, concurrency=(concurrency,)), [target])
            if found.run.figures or not found.run.failed or concurrency == 1 or self.recorder.incomplete:
                break
            refused.append(replace(self.played.pop().run, counts=False))
            concurrency //= 2
        if refused:
            self.played[-1] = replace(found, discarded=(*refused, *found.discarded))
            self.remarks.append(f"{target.subject.model}: it refused requests at {refused[-1].load}")
        return found

    def _play_phase(self, phase: Phase, group: Sequence[Target]) -> list[Played]:
        """Run a phase to its end, or until the server no longer answers, and return its steps."""
        found: list[Played] = []
        left = runs_of(phase)
        names = ", ".join(target.subject.model for target in group)
        with self.progress.step("measure", f"{self.scenario.name}: {phase.name}, {names}") as step:
            for label, loads in self._loads(phase, group):
                self.progress.note(str(self.clock) if label == phase.name else f"{label}, {self.clock}")
                found += self._play_step(phase, label, list(zip(group, loads, strict=True)))
                self.clock.done(left.pop())
                if self.recorder.incomplete or (phase.until_saturated and findings.saturated(found, self.slo)):
                    break
            step.outcome = findings.best_figures(found)
        self.clock.left_out(sum(left))
        return found

    def _loads(self, phase: Phase, group: Sequence[Target]) -> Iterator[tuple[str, list[Load]]]:
        """Yield the label of each step of a phase, and a load for each model."""
        for concurrency in phase.concurrency:
            for label in _labels(phase, f" at {concurrency}" * (len(phase.concurrency) > 1)):
                yield label, [Load(self.batch_size, concurrency) for _ in group]
        if not phase.concurrency:
            rates = [self._rate(phase, target, len(group) if self.scenario.together else 1) for target in group]
            loads = [Load(self.batch_size, request_rate=rate, arrivals=self.scenario.arrivals) for rate in rates]
            for label in _labels(phase):
                yield label, loads

    def _rate(self, phase: Phase, target: Target, models: int) -> float:
        """Return the rate for one of several models: exactly as given, or a share of the capacity, rounded."""
        if phase.rate:
            return phase.rate / models
        return _rounded((phase.share or 0.0) * self._capacity[target.subject] / models)

    def _play_step(self, phase: Phase, label: str, pairs: Sequence[tuple[Target, Load]]) -> list[Played]:
        self._steps += 1
        self._ended = threading.Event()
        seconds = max(SHORTEST_RUN, phase.run_seconds)
        # All windows are as long as the longest, so that no model is measured after the others have finished.
        seconds = max(window_seconds(target, load, seconds) for target, load in pairs) * WINDOWS
        setting = replace(self.setting, seconds=seconds)
        if len(pairs) == 1:
            found = [self._run(setting, phase, label, *pairs[0])]
        else:
            found = self._run_all(setting, phase, label, pairs)
        self.played += found
        lost = next((each.run for each in found if each.run.figures is None), None)
        if lost and not is_there(self.setting.client):
            self.recorder.incomplete = f"{SERVER_GONE}, in {label}; {lost.reason}"
        return found

    def _run_all(
        self, setting: Setting, phase: Phase, label: str, pairs: Sequence[tuple[Target, Load]]
    ) -> list[Played]:
        """Run a perf_analyzer for each model at the same time; an interrupt, or an error of one, ends all of them."""
        stop = threading.Event()
        setting = replace(setting, stop=stop)
        with ThreadPoolExecutor(len(pairs)) as pool:
            try:
                futures = [pool.submit(self._run, setting, phase, label, *pair) for pair in pairs]
                if any(future.exception() for future in wait(futures, return_when=FIRST_EXCEPTION).done):
                    stop.set()
            except BaseException:
                stop.set()
                raise
        failed = [error for future in futures if (error := future.exception())]
        if failed:  # the others were stopped because of the first error, which is the one to raise
            raise next((error for error in failed if not isinstance(error, Stopped)), failed[0])
        return [future.result() for future in futures]

    def _run(self, setting: Setting, phase: Phase, label: str, target: Target, load: Load) -> Played:
        """Run perf_analyzer beside a canary; repeat the run if perf_analyzer itself failed."""
        request = request_of(setting, target, load)
        discarded: list[AnalyzerRun] = []
        while True:
            with Canary(target) as canary:
                found = run(setting, target, request, self._steps)
            if not discarded:
                self.progress.show_command(found.command)
            if findings.analyzer_failed(found):
                found = replace(found, counts=len(discarded) + 1 == TRIES)
            elif discarded and self._ended.is_set() and not found.reason:
                found = replace(found, stable=False, reason=ALONE)
            self.recorder.runs.append(found)
            if found.counts or not is_there(setting.client):
                break
            discarded.append(found)
        self._ended.set()
        return Played(phase, label, found, canary.seen, tuple(discarded), server_memory(target.address))


def _labels(phase: Phase, suffix: str = "") -> list[str]:
    if phase.segments == 1:
        return [phase.name + suffix]
    return [f"{phase.name} {number} of {phase.segments}" for number in range(1, phase.segments + 1)]


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")


def server_memory(address: Address) -> int | None:
    """Return the bytes that the server at an address holds, None if it is remote or belongs to another user.

    The program that listens there may be a tunnel to a remote server. Its memory does not count.
    """
    if not address.on_loopback:
        return None
    psutil = need("psutil", BENCH)
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == address.port and each.pid:
                return (machine.memory_of(each.pid) or None) if psutil.Process(each.pid).name() == SERVER else None
    except psutil.Error:  # it has just ended, or this system does not show other users' ports
        return None
    return None
