"""Files as they may lie in a repository: pipes, devices and what the system refuses are never waited for."""

import os
import stat
from pathlib import Path
from typing import IO

NO_FILE = "it is not a file"
# Of a file that would be waited for, such as /proc/kmsg.
NOTHING = "there is nothing to read in it"


def is_file(path: Path) -> bool:
    """Whether a path is a file; a path that no file can have, or that can't be looked at, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Whether something is at a path; nothing is if that can't be looked at."""
    return os.path.exists(path)  # noqa: PTH110 - pathlib fails for what may not be looked at


def opened(path: Path) -> IO[bytes]:
    """Open a file to read it; OSError if it can't be opened, or if it is a folder, a pipe or a device."""
    _check(path.stat(), path)  # to open a device may do something
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - the caller closes it
    try:
        _check(os.fstat(file.fileno()), path)  # it may have been replaced meanwhile
    except OSError:
        file.close()
        raise
    return file


def _check(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, NO_FILE, os.fspath(path))


def _at_once(path: str, flags: int) -> int:
    """Open a path at once: a pipe would wait for its writer, and some files of /proc wait, too."""
    return os.open(path, flags | os.O_NONBLOCK)


def trouble(path: Path) -> str:
    """Return why a file can't be read; empty if it can."""
    try:
        with opened(path) as file:
            return NOTHING if file.read(1) is None else ""
    except OSError as error:
        return error.strerror or str(error)
