"""Runs cases in processes of their own, several at a time, each with its cores, a time limit and a bound of memory."""

import multiprocessing
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import psutil

from tests.coverage.cases import FAMILIES, Case
from tests.coverage.row import Row
from tests.coverage.worker import work
from tests.killing import kill

# What decides the numbers of threads before a process knows its cores.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Python tells that what was killed did not tidy up.
SILENCED = {"PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker"}
LOOK_SECONDS = 0.5
PRELOAD = ("tests.coverage.preload", "tests.coverage.worker")
# What a process does: it is given a family, the names of its cases, a folder, cores, and where to send their rows.
Work = Callable[[str, Sequence[str], Path, set[int], Connection], None]


@dataclass(frozen=True)
class Limits:
    """How many processes run at a time, and what one model may take of the machine: seconds, and bytes of memory."""

    jobs: int
    seconds: float
    bytes: int


@dataclass
class Process:
    """A running process: its cases, those of them that are done, and when the last of these was."""

    cases: Sequence[Case]
    folder: Path
    slot: int
    process: ForkServerProcess
    rows: Connection
    done: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def current(self) -> Case:
        """The case that is being run."""
        return self.cases[self.done]


def run(
    cases: Sequence[Case], limits: Limits, *, target: Work = work, preload: Sequence[str] = PRELOAD
) -> Generator[Row, None, None]:
    """Run cases in their order by ``target`` and yield the row of each as soon as it is known.

    One whose process dies, or takes too much, fails and keeps no other from its turn. What is still running when the
    iterator is closed is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    cores = [set(each) for each in _dealt(sorted(os.sched_getaffinity(0)), limits.jobs)]
    with _variables({**SILENCED, **dict.fromkeys(THREADS, str(len(cores[0])))}):
        forkserver.ensure_running()
    waiting = deque(_groups(cases))
    running: list[Process] = []
    try:
        while waiting or running:
            for slot in set(range(limits.jobs)) - {process.slot for process in running}:
                if waiting:
                    running.append(_started(context, target, waiting.popleft(), slot, cores[slot]))
            wait([process.rows for process in running], LOOK_SECONDS)
            for process in list(running):
                alive = process.process.is_alive()  # asked first: what it sent before it ended is there by now
                yield from _received(process)
                if process.done < len(process.cases):
                    failure = _failure(process, alive, limits)
                    if not failure:
                        continue
                    yield failure
                    rest = process.cases[process.done + 1 :]
                    if rest:
                        waiting.appendleft(rest)
                _end(process)
                running.remove(process)
    finally:
        for process in running:
            _end(process)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which a process that is started meanwhile keeps."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _dealt(cores: Sequence[int], jobs: int) -> list[Sequence[int]]:
    """Deal cores out to jobs; where there are fewer cores than jobs, some share one."""
    return [cores[slot % len(cores) :: max(jobs, 1)] or cores for slot in range(jobs)]


def _groups(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    """Yield the cases of each process in their order."""
    for family, kind in FAMILIES.items():
        own = [case for case in cases if case.family == family]
        for start in range(0, len(own), kind.together):
            yield own[start : start + kind.together]


def _started(context: ForkServerContext, target: Work, cases: Sequence[Case], slot: int, cores: set[int]) -> Process:
    folder = Path(tempfile.mkdtemp(prefix="modelrepo-coverage-"))
    rows, sender = context.Pipe(duplex=False)
    names = [case.name for case in cases]
    process = context.Process(target=target, args=(cases[0].family, names, folder, cores, sender), daemon=True)
    process.start()
    sender.close()
    return Process(cases, folder, slot, process, rows)


def _received(process: Process) -> Iterator[Row]:
    with suppress(EOFError):
        while process.rows.poll():
            row: Row = process.rows.recv()
            process.done += 1
            process.since = time.monotonic()
            yield row


def _failure(process: Process, alive: bool, limits: Limits) -> Row | None:
    """Return the row of the current case where its process has died, or has to be killed for what it takes."""
    seconds = time.monotonic() - process.since
    taken = _memory(process)
    if not alive:
        reason = f"its process died ({_last_line(process.folder / 'log')})"
    elif seconds > limits.seconds:
        reason = f"killed after {limits.seconds:.0f} s"
    elif taken > limits.bytes:
        reason = f"killed at {taken / 1e9:.1f} GB of memory"
    else:
        return None
    return Row(process.current.key, seconds=round(seconds, 1), reason=reason)


def _memory(process: Process) -> int:
    """Return the bytes that a process and all it began hold; what they share is counted once for each."""
    with suppress(psutil.Error):
        own = psutil.Process(process.process.pid)
        return sum(each.memory_info().rss for each in (own, *own.children(recursive=True)))
    return 0


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _end(process: Process) -> None:
    """End a process, and remove its folder."""
    kill(process.process)
    process.rows.close()
    shutil.rmtree(process.folder, ignore_errors=True)
