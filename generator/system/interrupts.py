"""Interrupts such as Ctrl-C: the signals that end a run, and a way to delay them."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One interrupt may come twice: from the terminal, and passed on by the supervisor.
TWICE_SECONDS = 0.5
_arrived = [0]


class Interrupting:
    """A handler that raises KeyboardInterrupt, once for an interrupt that comes twice at once."""

    def __init__(self) -> None:
        self._last = -TWICE_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, and count it."""
        before, self._last = self._last, time.monotonic()
        if self._last - before >= TWICE_SECONDS:
            _arrived[0] += 1
            raise KeyboardInterrupt


def arrived() -> int:
    """Return how many interrupts have arrived in this process: code may have caught some."""
    return _arrived[0]


@contextmanager
def interrupts_kept_back() -> Iterator[None]:
    """Delay interrupts during a few file operations; then deliver the last one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    caught = [number for number in INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, remember) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[-1])
