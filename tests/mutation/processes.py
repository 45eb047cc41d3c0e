"""Tasks in processes of their own, several at a time, each task with a time limit."""

import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.killing import kill

LOOK_SECONDS = 1.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Does one task: yields the rows of it, each a value that can be pickled.
Work = Callable[[Any], Iterator[Any]]


@dataclass
class Process:
    """A running process, its tasks, and how many of them are done."""

    tasks: Sequence[Any]
    process: ForkServerProcess
    rows: Connection
    done: int = 0
    since: float = field(default_factory=time.monotonic)


def run(
    groups: Sequence[Sequence[Any]], work: Work, jobs: int, seconds: float
) -> Generator[tuple[Any, Any], None, None]:
    """Yield each task with each of its rows; a task whose process dies or takes too long has a str as its last row.

    The tasks of one group share a process, as long as none of them ends it.
    """
    context = multiprocessing.get_context("forkserver")
    os.environ.update(dict.fromkeys(THREADS, "1") | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    waiting = deque(group for group in groups if group)
    running: list[Process] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                tasks = waiting.popleft()
                rows, sender = context.Pipe(duplex=False)
                process = context.Process(target=_life, args=(tasks, work, sender), daemon=True)
                process.start()
                sender.close()
                running.append(Process(tasks, process, rows))
            wait([each.rows for each in running], LOOK_SECONDS)
            for each in list(running):
                alive = each.process.is_alive()
                yield from _received(each)
                if each.done == len(each.tasks):
                    pass
                elif not alive or time.monotonic() - each.since > seconds:
                    yield each.tasks[each.done], "killed after its time" if alive else "its process died"
                    waiting.appendleft(each.tasks[each.done + 1 :])
                    if not waiting[0]:
                        waiting.popleft()
                else:
                    continue
                _end(each)
                running.remove(each)
    finally:
        for each in running:
            _end(each)


def _received(process: Process) -> Iterator[tuple[Any, Any]]:
    with suppress(EOFError):
        while process.rows.poll():
            row = process.rows.recv()
            process.since = time.monotonic()
            if row is None:
                process.done += 1
            else:
                yield process.tasks[process.done], row


def _life(tasks: Sequence[Any], work: Work, rows: Connection) -> None:
    os.setsid()
    with tempfile.TemporaryDirectory(prefix="modelrepo-mutation-") as folder:
        tempfile.tempdir = folder
        with (Path(folder) / "log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        for task in tasks:
            try:
                for row in work(task):
                    rows.send(row)
            except Exception as error:  # the task's last row
                rows.send(f"{type(error).__name__}: {error}"[:500])
            rows.send(None)
        rows.close()
    os._exit(0)  # what frameworks do at the end may hang


def _end(process: Process) -> None:
    kill(process.process)
    process.rows.close()
