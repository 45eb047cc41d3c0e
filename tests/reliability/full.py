"""A real file system that fills up and becomes read-only: a small tmpfs, for which one must be root."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.failing import REPOSITORY, Failure
from tests.reliability.scenes import LINEAR, ROOT, below, tree
from tests.reliability.worker import Worker

NAME = "a tmpfs that fills up and becomes read-only"
SIZE, MOST = "400k", 200
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("rollback", "linear"),
    ("prune", "linear", "--keep", "1"),
    ("remove", "linear"),
)


def possible() -> bool:
    """Whether this process may mount."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


def failures(worker: Worker, folder: Path) -> Iterator[Failure]:
    """Publish until the file system is full, prune, publish again, and then let every verb meet a read-only one."""
    with _mounted(folder):
        for seed in range(1, MOST):
            before = below(tree(folder), ROOT)
            ended = worker.run(folder, (*LINEAR, "--seed", str(seed)))
            if ended.code:
                break
        yield _failure("No space left on device", folder, "generate", ended.code, ended.err, before)
        freeing: Sequence[Sequence[str]] = (("prune", "linear", "--keep", "2"), (*LINEAR, "--seed", str(MOST)))
        for command in freeing:
            ended = worker.run(folder, command)
            assert ended.code == 0, ended.err
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        before = below(tree(folder), ROOT)
        for command in COMMANDS:
            ended = worker.run(folder, command)
            yield _failure("Read-only file system", folder, command[0], ended.code, ended.err, before)


def _failure(words: str, folder: Path, verb: str, code: int, err: str, before: dict[str, str]) -> Failure:
    faults = [] if code == REPOSITORY and words in err else [f"{verb} ends with {code}: {err.strip()}"]
    faults += [] if below(tree(folder), ROOT) == before else [f"{verb} changed the repository"]
    return Failure(NAME, words, verb, code, tuple(faults), 1 + len(COMMANDS))


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
