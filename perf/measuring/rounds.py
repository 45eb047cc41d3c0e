"""Measuring side by side: every subject under every load, in rounds, until the figures are reliable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.progress import Progress
from modelrepo.perf.analyzer.run import Setting, request_of, run
from modelrepo.perf.measuring import plan
from modelrepo.perf.measuring.machine import STEAL
from modelrepo.perf.measuring.plan import TRIES
from modelrepo.perf.measuring.standing import standing
from modelrepo.perf.measuring.summary import summarise
from modelrepo.perf.measuring.target import Target, is_there
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, Measurement, Subject

INTERRUPTED = "interrupted"
SERVER_GONE = "the server no longer answers"


@dataclass(frozen=True)
class Schedule:
    """The loads to measure, each in so many ``rounds``."""

    loads: Sequence[Load]
    rounds: int


@dataclass(frozen=True)
class Slot:
    """One turn in a round: a target, or the first target again."""

    target: Target
    again: bool = False


class Recorder:
    """Keeps every finished run, so that an interrupt or a dead server loses none of them.

    ``incomplete`` says why the measuring ended early, or is empty.
    """

    def __init__(self) -> None:
        self.runs: list[AnalyzerRun] = []
        self.incomplete = ""

    def close(self, reason: str) -> None:
        """Note why the measuring ends; then the last run counts in any case."""
        self.incomplete = reason
        if self.runs:
            self.runs[-1] = replace(self.runs[-1], counts=True)

    def measurements(self) -> tuple[Measurement, ...]:
        """Return the measurements of all runs, in the order in which their subjects and loads first appeared."""
        keys = dict.fromkeys((run.subject, run.load) for run in self.runs)
        return tuple(summarise([each for each in self.runs if (each.subject, each.load) == key]) for key in keys)


def measure(
    setting: Setting, targets: Sequence[Target], schedule: Schedule, recorder: Recorder, progress: Progress
) -> None:
    """Measure all targets under all loads; the recorder keeps the runs, whatever happens.

    A round has all loads, so that there is a first standing after the first round. Under each load it has every target
    once, and the first one again if there are several: its difference from itself is the noise. An interrupt or an
    error ends the measuring, and is raised only if nothing was measured before.
    """
    measuring = _Measuring(setting, targets, schedule, recorder, progress)
    subjects = [target.subject for target in targets]
    measuring.warn_of_long_runs()
    try:
        for number in range(1, schedule.rounds + 1):
            with progress.step("measure", f"round {number} of {schedule.rounds}") as step:
                measuring.measure(number)
                step.outcome, lines = standing(recorder.runs, subjects)
            for line in lines:
                progress.show(f"          {line}")
            if recorder.incomplete:
                return
    except KeyboardInterrupt:
        recorder.close(INTERRUPTED)
        if not recorder.runs:
            raise
    except ModelRepoError as error:
        recorder.close(str(error))
        if not recorder.runs:
            raise


class _Measuring:
    """Measures the rounds of a schedule, and knows which runs are left out of the next ones."""

    def __init__(
        self, setting: Setting, targets: Sequence[Target], schedule: Schedule, recorder: Recorder, progress: Progress
    ) -> None:
        self.setting, self.targets, self.schedule = setting, targets, schedule
        self.recorder, self.progress = recorder, progress
        self.given_up: set[tuple[Subject, Load]] = set()
        planned = plan.from_targets(targets, schedule.loads, schedule.rounds, setting.seconds)
        self.clock = plan.Clock(planned.total[1])

    def warn_of_long_runs(self) -> None:
        """Warn of runs that take longer than the user asked for."""
        for load, target in product(self.schedule.loads, self.targets):
            seconds = plan.run_seconds(target, load, self.setting.seconds)
            if seconds > 2 * self.setting.seconds:
                self.progress.warn(
                    f"{target.subject.model} at {load}: a run takes {seconds:.0f} s, as there are few requests"
                )

    def measure(self, number: int) -> None:
        """Measure a round, or until the server no longer answers."""
        for load, slot in product(self.schedule.loads, _round(self.targets, number)):
            if self.recorder.incomplete:
                return
            seconds = plan.taken(plan.run_seconds(slot.target, load, self.setting.seconds))
            if (slot.target.subject, load) in self.given_up:
                self.clock.left_out(seconds)
                continue
            self.progress.note(f"{slot.target.subject.model} at {load}, {self.clock}")
            self._take_turn(slot, load, number)
            self.clock.done(seconds)

    def _take_turn(self, slot: Slot, load: Load, number: int) -> None:
        tries = 1 if load in _unsteady(self.recorder.runs) else TRIES
        found = settled(self.setting, slot, load, number, self.recorder, self.progress, tries)
        if found.figures is None:
            self.given_up.add((found.subject, load))
            if not is_there(self.setting.client):
                self.recorder.incomplete = f"{SERVER_GONE}; {found.reason}"


def _unsteady(runs: Sequence[AnalyzerRun]) -> set[Load]:
    """Return the loads under which a run stayed unsteady, however often it was repeated.

    Their later runs are not repeated: that does not help, and the rounds show how far they differ.
    """
    return {run.load for run in runs if run.counts and run.figures and not run.stable}


def _round(targets: Sequence[Target], number: int) -> list[Slot]:
    """Return the order of a round; every second one is reversed, so that drift favours no target."""
    slots = [Slot(target) for target in targets]
    if len(targets) > 1:
        slots.append(Slot(targets[0], again=True))
    return slots if number % 2 else slots[::-1]


def settled(
    setting: Setting,
    slot: Slot,
    load: Load,
    number: int,
    recorder: Recorder,
    progress: Progress,
    tries: int = TRIES,
) -> AnalyzerRun:
    """Repeat a run until it is steady on an undisturbed machine, or the tries are used up; the last one counts."""
    request = request_of(setting, slot.target, load)
    for attempt in range(1, tries + 1):
        found = _judged(run(setting, slot.target, request, number, slot.again))
        if not any((each.subject, each.load) == (found.subject, found.load) for each in recorder.runs):
            progress.show_command(found.command)
        found = replace(found, counts=found.stable or attempt == tries or not is_there(setting.client))
        recorder.runs.append(found)
        if found.counts:
            break
        progress.note(f"{found.subject.model} at {load}, once more: {found.reason}")
    return found


def _judged(found: AnalyzerRun) -> AnalyzerRun:
    """Return a run, marked unstable if other guests of the host disturbed it."""
    if not found.stable or found.machine.steal <= STEAL:
        return found
    return replace(found, stable=False, reason=f"other guests took {found.machine.steal:.0%} of the CPU time")
