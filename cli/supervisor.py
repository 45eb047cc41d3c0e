"""A small process above `generate`: it ends what can't end itself, and says so.

A source is other people's code. It may hold Python's lock for ever, catch every exception, or crash the process; then
nothing within the process can print a line, remove the staging folder, or choose the exit code. So the work is done in
a child process, which tells over a pipe what it asks of a source (generator/system/supervised.py). The supervisor
passes interrupts on, waits, and exits as the child does. It kills a child whose source has used up its time, or ignores
an interrupt, and cleans up after it.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelrepo.generator.system import supervised
from modelrepo.generator.system.interrupts import INTERRUPTS

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Seconds to wait for processes that end when the child has: a server's guardian ends its server first.
ENDING_SECONDS = 10.0
UNEXPECTED, SOURCE, INTERRUPTED = 1, 3, 130
# Prints an error, also as JSON if that was asked for: a message and an exit code.
Ending = Callable[[str, int], None]


def supervise(end: Ending) -> None:
    """Return in a new child process, which does the work; this process waits for it and exits as it does."""
    if not sys.platform.startswith("linux"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    reading, writing = os.pipe()
    above = os.getpid()
    child = os.fork()
    if child:
        os.close(writing)
        os._exit(_Supervisor(child, reading, end).exit_code())
    os.close(reading)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != above:  # it was killed before this took effect
        os._exit(UNEXPECTED)
    supervised.report_to(writing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


class Told:
    """What the child has told: the question that is being asked, since when, and its folders."""

    def __init__(self) -> None:
        self.question = ""  # the message if it takes too long; empty: none is asked
        self.ends = 0.0  # when its time is up
        self.begun = 0.0
        self.folders: list[str] = []

    def note(self, message: dict[str, Any]) -> None:
        """Take in one message."""
        if "asked" in message:
            self.question, self.begun = message["asked"], time.monotonic()
            self.ends = self.begun + message.get("seconds", 0.0)
        if "staged" in message:
            self.folders.append(message["staged"])
        if "removed" in message:
            self.folders.remove(message["removed"])


class _Supervisor:
    def __init__(self, child: int, reading: int, end: Ending) -> None:
        self.child, self.reading, self.end = child, reading, end
        self.told, self.rest = Told(), b""
        self.telling = True  # until the child closes its end of the pipe
        self.interrupted = 0.0  # when the first interrupt arrived
        self.status: int | None = None  # as waitpid returned it

    def exit_code(self) -> int:
        """Watch the child until it has ended, clean up after it if it could not, and return the exit code."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        woken = self._woken_by_signals()
        problem: tuple[str, int] | None = None
        while self.running():
            end = self._end()
            seconds = None if end is None else max(0.0, end - time.monotonic())
            ready, _, _ = select.select([woken, *([self.reading] if self.telling else [])], [], [], seconds)
            if woken in ready:
                self._pass_on(os.read(woken, 1024))
            if self.reading in ready:
                self._read()
            end = self._end()
            if self.running() and end is not None and end <= time.monotonic():
                problem = self._problem()
                os.kill(self.child, signal.SIGKILL)
                _, self.status = os.waitpid(self.child, 0)
        self._read()
        status = self.status or 0
        if os.WIFEXITED(status) and not (self.told.question or self.told.folders):
            return os.WEXITSTATUS(status)
        self._clean_up()
        message, code = problem or self._crash(status)
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K\x1b[?25h")  # the spinner's line, and the cursor that it hides
        self.end(message, code)
        return code

    def running(self) -> bool:
        """Whether the child has not ended yet, as far as is known."""
        return self.status is None

    def _woken_by_signals(self) -> int:
        """Return a pipe that gets the number of each signal."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (*INTERRUPTS, signal.SIGCHLD):
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        self._wait()  # it may have ended before
        return woken

    def _pass_on(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self.interrupted = self.interrupted or time.monotonic()
                with suppress(ProcessLookupError):
                    os.kill(self.child, number)
        self._wait()

    def _wait(self) -> None:
        if self.running():
            ended, status = os.waitpid(self.child, os.WNOHANG)
            self.status = status if ended else None

    def _read(self) -> None:
        """Read what the child has told."""
        while self.telling and select.select([self.reading], [], [], 0)[0]:
            read = os.read(self.reading, 1 << 16)
            self.telling = bool(read)
            *lines, self.rest = (self.rest + read).split(b"\n")
            for line in lines:
                self.told.note(json.loads(line))

    def _end(self) -> float | None:
        """Return when the child has to be killed unless its source stops before; None if nothing is asked."""
        if not self.told.question:
            return None
        ends = self.told.ends
        if self.interrupted:
            ends = min(ends, max(self.interrupted, self.told.begun))
        return ends + supervised.GRACE_SECONDS

    def _problem(self) -> tuple[str, int]:
        if self.interrupted:
            return "interrupted; the source's code did not stop, so the process was ended", INTERRUPTED
        return (
            f"{self.told.question}, and can't be stopped, so the run has ended: models that were published before "
            "stay. Give it more time with --source-timeout, or find out where its code waits",
            SOURCE,
        )

    def _crash(self, status: int) -> tuple[str, int]:
        """Return what to say of a child that ended in the middle of its work."""
        if self.interrupted:
            return "interrupted", INTERRUPTED
        asked = self.told.question.partition(" does not end")[0]
        doing = f" while {asked}" if asked else ""
        stays = "models that were published before stay"
        if os.WIFEXITED(status):
            return f"generate was ended{doing}, by code that calls exit for the whole process; {stays}", UNEXPECTED
        number = os.WTERMSIG(status)
        if number in INTERRUPTS:
            return "interrupted", INTERRUPTED
        hint = "The machine may have run out of memory" if number == signal.SIGKILL else "A library has crashed"
        return f"generate was ended by {signal.Signals(number).name}{doing}. {hint}; {stays}", UNEXPECTED

    def _clean_up(self) -> None:
        """End the processes that the child has left, and remove its folders."""
        end, session = time.monotonic() + ENDING_SECONDS, os.getsid(0)
        while (left := _children()) and time.monotonic() < end:
            for pid in left:
                with suppress(OSError):  # it has ended
                    if os.getsid(pid) == session:  # guardians of servers lead sessions of their own
                        os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
        for folder in map(Path, self.told.folders):
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for above in list(folder.parents)[:3]:  # staging, the repository's state, all states
                    above.rmdir()


def _children() -> list[int]:
    files = Path("/proc/self/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split()]
