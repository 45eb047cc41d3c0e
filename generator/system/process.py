"""Runs external commands to completion; keeps their output for error messages."""

import codecs
import io
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from modelrepo.generator.system.interrupts import interrupts_kept_back

# How often ``stop`` is checked while a command runs.
LOOK_SECONDS = 0.1
READ_BYTES = 1 << 16
UTF8 = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    command: tuple[str, ...]
    code: int  # negative: the signal that ended it
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that is not empty: tools usually write the error there."""
        lines = [line.strip() for line in f"{self.out}\n{self.err}".splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


class Stopped(Exception):
    """A command was killed because ``stop`` was set."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    heard: Callable[[str], None] | None = None,
) -> Finished:
    """Run a command without a terminal and wait for it, at most ``timeout`` seconds.

    ``stop`` is for threads, which interrupts don't reach: once it is set, the command is killed and Stopped raised.
    ``heard`` is called with each line of its stdout as it comes. Raises FileNotFoundError if there is no such program,
    and subprocess.TimeoutExpired if it takes longer; it is killed then. Its child processes are killed with it.
    """
    end = time.monotonic() + timeout
    process: subprocess.Popen[str] | None = None
    try:
        with interrupts_kept_back():  # one that came while it starts would leave it running
            process = subprocess.Popen(  # noqa: S603 - the commands are ours
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,
            )
        out, err = _output(process, end, stop) if heard is None else _heard(process, end, stop, heard)
    except BaseException as error:
        if process is not None:
            _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            error.timeout = timeout
        raise
    finally:
        for stream in (process.stdout, process.stderr) if process is not None else ():
            if stream:
                stream.close()
    return Finished(tuple(command), process.returncode, out, err)


def _kill(process: "subprocess.Popen[str]") -> None:
    """Kill a command and its child processes."""
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()  # after an interrupt Popen itself would leave a zombie


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
    """Collect both outputs, and pass on each line of stdout as it comes.

    The pipes are read unbuffered: a buffered reader would block as long as a child process keeps a pipe open.
    """
    if process.stdout is None or process.stderr is None:
        raise ValueError("both outputs must be pipes")
    texts: dict[int, list[str]] = {}
    decoders = {}
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            texts[stream.fileno()] = []
            decoders[stream.fileno()] = io.IncrementalNewlineDecoder(UTF8(errors="replace"), translate=True)
            selector.register(stream, selectors.EVENT_READ)
        begun = ""
        while selector.get_map():
            for key in _readable(process, selector, end, stop):
                read = os.read(key.fd, READ_BYTES)
                texts[key.fd].append(decoders[key.fd].decode(read, final=not read))
                if key.fileobj is process.stdout:
                    *lines, begun = (begun + texts[key.fd][-1]).split("\n")
                    for line in lines:
                        heard(line)
                if not read:
                    selector.unregister(key.fileobj)
    if begun:
        heard(begun)
    process.wait(timeout=max(0.0, end - time.monotonic()))
    out, err = ("".join(parts) for parts in texts.values())
    return out, err


def _readable(
    process: "subprocess.Popen[str]", selector: selectors.BaseSelector, end: float, stop: threading.Event | None
) -> list[selectors.SelectorKey]:
    """Return the pipes that have data; none after LOOK_SECONDS without data."""
    if stop and stop.is_set():
        raise Stopped
    left = end - time.monotonic()
    if left <= 0:
        raise subprocess.TimeoutExpired(process.args, 0)
    return [key for key, _ in selector.select(min(left, LOOK_SECONDS))]
