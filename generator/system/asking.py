"""The time that a source may take for one answer: its code may never end.

An alarm raises an exception in the main thread, where Python code of every kind stops. What does not, such as a loop in
C++ or one that catches everything, is ended together with this process by its supervisor.
"""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.system import interrupts
from modelrepo.generator.system.supervised import tell

HINT = "Give it more time with --source-timeout, or find out where its code waits"


class _Expired(BaseException):
    """The time is up. Not an Exception: sources catch those, and report them as their own."""


class _Alarm:
    """The handler of SIGALRM, and the clock that raises it; it remembers that it rang: code may have caught it."""

    def __init__(self, problem: str, seconds: float) -> None:
        self.problem, self.seconds = problem, seconds
        self.rung = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.rung = True
        raise _Expired

    def start(self) -> None:
        tell(asked=self.problem, seconds=self.seconds)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        tell(asked="")


@dataclass(frozen=True)
class Limit:
    """The seconds that a source may take for whatever it is asked at once."""

    reference: str  # of the source
    seconds: float

    @contextmanager
    def on(self, doing: str) -> Iterator[None]:
        """Raise SourceError if the block, which is ``doing`` this, takes too long; KeyboardInterrupt if it hid one.

        A question within a question has no time of its own, and neither has one of another thread.
        """
        if threading.current_thread() is not threading.main_thread() or _running():
            yield
            return
        problem = f"{doing} {self.reference} does not end within {_shown(self.seconds)}"
        alarm, arrived = _Alarm(problem, self.seconds), interrupts.arrived()
        before = signal.signal(signal.SIGALRM, alarm)
        caught: BaseException | None = None
        try:
            try:
                alarm.start()
                yield
            finally:
                alarm.stop()
        except BaseException as error:
            caught = error
        finally:
            signal.signal(signal.SIGALRM, before)
        # Code may have caught an interrupt or the alarm, and gone on or raised an error of its own.
        if interrupts.arrived() > arrived:
            raise KeyboardInterrupt from caught
        if alarm.rung:
            raise SourceError(f"{problem}{_place(caught)}", HINT) from caught
        if caught:
            raise caught

    def each(self, run: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Return a run whose every call is limited."""

        def limited(arrays: Mapping[str, Any]) -> dict[str, Any]:
            with self.on("asking"):
                return run(arrays)

        return limited


@contextmanager
def unlimited() -> Iterator[None]:
    """Stop the clock for a block that waits for others, as a download does; afterwards it starts anew."""
    alarm = _running() if threading.current_thread() is threading.main_thread() else None
    if alarm is None:
        yield
        return
    alarm.stop()
    try:
        yield
    finally:
        alarm.start()


def _running() -> _Alarm | None:
    alarm = signal.getsignal(signal.SIGALRM)
    return alarm if isinstance(alarm, _Alarm) else None


def _shown(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds > 60 and seconds % 60 == 0 else f"{seconds:g} seconds"


def _place(error: BaseException | None) -> str:
    """Return the last line below the current folder that was running, in brackets; empty if there is none."""
    here, frames = Path.cwd(), traceback.extract_tb(error.__traceback__ if error else None)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(here)]
    return f" ({Path(own[-1].filename).relative_to(here)}, line {own[-1].lineno})" if own else ""
