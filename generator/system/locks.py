"""Locks between processes that die with their holder, on other machines too if the file system shares them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from modelrepo.generator.system.files import ATTEMPTS, make_folder


def lock_of(path: Path, timeout: float) -> FileLock:
    """Return the lock of a file; acquiring it raises Timeout after so many seconds.

    It is ``flock``, which the kernel releases when its process ends. A file system without it gives an OSError: the
    library would take a file's existence for the lock then, which stays when its process is killed.
    """
    return FileLock(path, timeout=timeout, fallback_to_soft=False)


@contextmanager
def locked_in_its_folder(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a file, whose folder is made; Timeout after so many seconds."""
    lock = lock_of(path, timeout)
    for attempt in range(ATTEMPTS):
        try:
            make_folder(path.parent)
            lock.acquire()
            break
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise
    try:
        yield
    finally:
        lock.release()
