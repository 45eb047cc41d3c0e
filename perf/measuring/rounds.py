"""Measuring side by side: every subject under every load, in rounds, until the figures are reliable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.progress import Progress
from modelrepo.perf.analyzer.command import WINDOWS
from modelrepo.perf.analyzer.run import Setting, request_of, run
from modelrepo.perf.measuring.machine import STEAL
from modelrepo.perf.measuring.summary import summarise
from modelrepo.perf.measuring.target import Target, is_there
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, Measurement, Subject

# The most runs in a row: a disturbed or unsteady run is repeated.
TRIES = 3
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

    Each round has every target once, and the first one again if there are several: its difference from itself is the
    noise. An interrupt or an error ends the measuring, and is raised only if nothing was measured before.
    """
    try:
        for load in schedule.loads:
            with progress.step("measure", f"measuring {load}") as step:
                _measure_load(setting, targets, load, schedule, recorder, progress)
                step.outcome = "; ".join(_in_words(each) for each in recorder.measurements() if each.load == load)
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


def _measure_load(
    setting: Setting, targets: Sequence[Target], load: Load, schedule: Schedule, recorder: Recorder, progress: Progress
) -> None:
    given_up: set[Subject] = set()
    for target in targets:
        seconds = request_of(setting, target, load).window_seconds * WINDOWS
        if seconds > 2 * setting.seconds:
            progress.warn(f"{target.subject.model} at {load}: a run takes {seconds:.0f} s, as there are few requests")
    for number in range(1, schedule.rounds + 1):
        for slot in _round(targets, number):
            if slot.target.subject in given_up:
                continue
            progress.note(f"round {number} of {schedule.rounds}, {slot.target.subject.model}")
            found = settled(setting, slot, load, number, recorder, progress)
            if found.figures is None:
                given_up.add(found.subject)
                if not is_there(setting.client):
                    recorder.incomplete = f"{SERVER_GONE}; {found.reason}"
                    return


def _round(targets: Sequence[Target], number: int) -> list[Slot]:
    """Return the order of a round; every second one is reversed, so that drift favours no target."""
    slots = [Slot(target) for target in targets]
    if len(targets) > 1:
        slots.append(Slot(targets[0], again=True))
    return slots if number % 2 else slots[::-1]


def settled(
    setting: Setting, slot: Slot, load: Load, number: int, recorder: Recorder, progress: Progress
) -> AnalyzerRun:
    """Repeat a run until it is steady on an undisturbed machine, or the tries are used up; the last one counts."""
    request = request_of(setting, slot.target, load)
    for attempt in range(1, TRIES + 1):
        found = _judged(run(setting, slot.target, request, number, slot.again))
        if not any((each.subject, each.load) == (found.subject, found.load) for each in recorder.runs):
            progress.show_command(found.command)
        found = replace(found, counts=found.stable or attempt == TRIES or not is_there(setting.client))
        recorder.runs.append(found)
        if found.counts:
            break
    return found


def _judged(found: AnalyzerRun) -> AnalyzerRun:
    """Return a run, marked unstable if other guests of the host disturbed it."""
    if not found.stable or found.machine.steal <= STEAL:
        return found
    return replace(found, stable=False, reason=f"other guests took {found.machine.steal:.0%} of the CPU time")


def _in_words(measurement: Measurement) -> str:
    name, figures = measurement.subject.model, measurement.figures
    if figures is None:
        return f"{name} none ({measurement.reason})"
    mark = "" if measurement.stable else " (unstable)"
    return f"{name} {figures.throughput:.4g}/s, p99 {figures.latency.p99 / 1e3:.3g} ms{mark}"
