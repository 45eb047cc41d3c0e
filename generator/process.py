"""The one door to commands that are run to their end: what they print is kept, and told where they fail."""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

# How often a command is looked at that may be stopped.
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that says anything: where tools put what went wrong."""
        lines = [line.strip() for line in f"{self.out}\n{self.err}".splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


class Stopped(Exception):
    """A command was killed because whoever runs it wants no more of it."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    heard: Callable[[str], None] | None = None,
) -> Finished:
    """Run a command without a terminal and wait for it, at most ``timeout`` seconds.

    A thread that an interrupt does not reach is given a ``stop``: once it is set the command is killed, and Stopped
    raised. ``heard`` is called with each line of its output as it comes. Raises FileNotFoundError where there is no
    such program and subprocess.TimeoutExpired, the command killed, where it takes longer. All that the command has
    started is killed with it.
    """
    end = time.monotonic() + timeout
    with subprocess.Popen(  # noqa: S603 - the commands are ours
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            out, err = _output(process, end, stop) if heard is None else _heard(process, end, stop, heard)
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                error.timeout = timeout
            raise
    return Finished(tuple(command), process.returncode, out, err)


def _kill(process: "subprocess.Popen[str]") -> None:
    """Kill a command and what it has started."""
    with suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()  # Popen itself does not after an interrupt, which leaves a zombie


def _output(process: "subprocess.Popen[str]", end: float, stop: threading.Event | None) -> tuple[str, str]:
    while True:
        left = max(0.0, end - time.monotonic())
        try:
            return process.communicate(timeout=min(left, LOOK_SECONDS) if stop else left)
        except subprocess.TimeoutExpired:
            if stop and stop.is_set():
                raise Stopped from None
            if time.monotonic() >= end:
                raise


def _heard(
    process: "subprocess.Popen[str]", end: float, stop: threading.Event | None, heard: Callable[[str], None]
) -> tuple[str, str]:
    """Collect both outputs, and pass on each line of stdout in the caller's own thread."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    out: list[str] = []
    err: list[str] = []

    def read(stream: IO[str] | None, take: Callable[[str], None]) -> None:
        for line in stream or ():
            take(line)

    def read_out() -> None:
        read(process.stdout, lines.put)
        lines.put(None)

    readers = [
        threading.Thread(target=read_out, daemon=True),
        threading.Thread(target=read, args=(process.stderr, err.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    line: str | None = ""
    while line is not None:
        if stop and stop.is_set():
            raise Stopped
        left = end - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(process.args, 0)
        try:
            line = lines.get(timeout=min(left, LOOK_SECONDS))
        except queue.Empty:
            continue
        if line is not None:
            out.append(line)
            heard(line.rstrip("\n"))
    process.wait(timeout=max(0.0, end - time.monotonic()))
    for reader in readers:
        reader.join()
    return "".join(out), "".join(err)
