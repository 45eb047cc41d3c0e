"""How long measuring takes: an estimate from the settings, and while it runs one from the runs so far."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelrepo.perf.analyzer.command import WINDOWS
from modelrepo.perf.analyzer.run import window_seconds
from modelrepo.perf.measuring.target import Target
from modelrepo.perf.report.units import many
from modelrepo.perf.results.loads import Load

# The most runs in a row: a disturbed or unsteady run is repeated.
TRIES = 3
# perf_analyzer waits a fifth longer than a window, for the requests that are in flight at its end, and takes a moment
# to start: runs of 1, 1.5 and 3 s took 1.23, 1.85 and 3.67 s.
WINDOW_FACTOR, START_SECONDS = 1.2, 0.1
# The length of a run that the user leaves to us: about this many requests, one after the other, between these bounds.
# With models of 0.3 ms, runs of 1 s and of 3 s gave intervals of similar widths: most noise is between runs.
ENOUGH_REQUESTS = 500
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 3.0
# The share of a plan that is believed before anything is measured.
BELIEF = 0.1


@dataclass(frozen=True)
class Plan:
    """A number of runs; ``seconds`` are the shortest and the longest of a run, ``total`` those of all runs.

    The total is a range too if the length of a run depends on how fast the models answer. No run is repeated in it.
    """

    runs: int
    seconds: tuple[float, float]
    total: tuple[float, float]

    def __str__(self) -> str:
        counted = f"{many(self.runs, 'run')} of {in_seconds(*self.seconds)}"
        most = in_time(self.total[1] * TRIES)
        return f"{counted}, {about(*self.total)}; at most {most}, if all runs are repeated"


def taken(seconds: float) -> float:
    """Return the seconds that a run takes with windows of ``seconds`` in total."""
    return seconds * WINDOW_FACTOR + START_SECONDS


def from_settings(models: int, loads: int, rounds: int, seconds: float | None) -> Plan:
    """Return the plan before any model is asked; several models have one run more in each round, for the noise."""
    runs = (models + (models > 1)) * loads * rounds
    bounds = (seconds, seconds) if seconds else (SHORTEST_SECONDS, LONGEST_SECONDS)
    shortest, longest = (runs * taken(each) for each in bounds)
    return Plan(runs, bounds, (shortest, longest))


def from_targets(targets: Sequence[Target], loads: Sequence[Load], rounds: int, seconds: float) -> Plan:
    """Return the plan for models that have answered: runs of slow ones are longer than ``seconds``."""
    slots = [*targets, *targets[:1]] if len(targets) > 1 else targets
    lengths = [run_seconds(target, load, seconds) for load in loads for target in slots]
    total = rounds * sum(map(taken, lengths))
    return Plan(rounds * len(lengths), (min(lengths), max(lengths)), (total, total))


def run_seconds(target: Target, load: Load, seconds: float) -> float:
    """Return the seconds of a run's windows."""
    return window_seconds(target, load, seconds) * WINDOWS


def usual_seconds(targets: Sequence[Target], loads: Sequence[Load]) -> float:
    """Return the length of a run for these models, the same for all; the longest if one was not asked."""
    if not all(target.rows for target in targets):
        return LONGEST_SECONDS
    slowest = max(target.seconds for target in targets)
    request = max(max(slowest * load.batch_size, 1 / (load.request_rate or float("inf"))) for load in loads)
    # In whole seconds, so that the next run of bench has the same.
    return min(max(float(round(ENOUGH_REQUESTS * request)), SHORTEST_SECONDS), LONGEST_SECONDS)


def in_seconds(least: float, most: float) -> str:
    """Return a length, or a range of lengths, in seconds."""
    return f"{most:.3g} s" if least == most else f"{least:.3g} to {most:.3g} s"


def about(least: float, most: float) -> str:
    """Return an estimate in words."""
    low, high = in_time(least), in_time(most)
    return f"about {high}" if low == high else f"{low} to {high}"


def in_time(seconds: float) -> str:
    """Return a time in words, as precise as an estimate is."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 595:
        minutes, rest = divmod(round(seconds / 10) * 10, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{round(seconds / 3600)} h"


class Clock:
    """How much of a plan is done: what is left is scaled by how the time so far compares with the planned one.

    A first part of the plan counts as done in the planned time already, so that one run that was repeated says little.
    """

    def __init__(self, planned: float, now: Callable[[], float] = time.monotonic) -> None:
        self._planned, self._now = planned, now
        self._done, self._start = 0.0, now()

    def done(self, planned: float) -> None:
        """Note that a part is done that was planned to take so many seconds."""
        self._done += planned

    def left_out(self, planned: float) -> None:
        """Note that a part of so many seconds is not needed."""
        self._planned -= planned

    def __str__(self) -> str:
        gone = self._now() - self._start
        believed = self._planned * BELIEF
        factor = (gone + believed) / (self._done + believed)
        total = max(gone, gone + (self._planned - self._done) * factor)
        return f"{in_time(gone)} of about {in_time(total)}"
