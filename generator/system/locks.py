"""Locks between processes that die with their holder, on other machines too if the file system shares them."""

from pathlib import Path

from filelock import FileLock


def lock_of(path: Path, timeout: float) -> FileLock:
    """Return the lock of a file; acquiring it raises Timeout after so many seconds.

    It is ``flock``, which the kernel releases when its process ends. A file system without it gives an OSError: the
    library would take a file's existence for the lock then, which stays when its process is killed.
    """
    return FileLock(path, timeout=timeout, fallback_to_soft=False)
