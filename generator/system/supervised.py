"""What the supervisor of this process is told: the question that a source is asked, and the folders to remove.

Code that never ends may hold Python's lock, so that nothing in this process could end it: cli/supervisor.py can.
Without a supervisor nothing is told.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Seconds that a source gets to stop by itself, after its time is up or after an interrupt.
GRACE_SECONDS = 5.0
_pipe: list[int] = []


def report_to(pipe: int) -> None:
    """Tell everything to the reader of this pipe from now on."""
    _pipe[:] = [pipe]


def tell(**message: Any) -> None:
    """Tell the supervisor, with the fields of its ``Told``."""
    for pipe in _pipe:
        with suppress(OSError):  # it has ended, and ends this process as well
            os.write(pipe, json.dumps(message).encode() + b"\n")


@contextmanager
def removed_if_killed(folder: Path) -> Iterator[None]:
    """Have a folder removed, with its lock, if this process is ended before the block is."""
    tell(staged=str(folder))
    try:
        yield
    finally:
        tell(removed=str(folder))
