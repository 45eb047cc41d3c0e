"""A process of `make coverage` that does what the names of its cases say."""

import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tests.coverage.row import Row

MINUTE = 60


def misbehave(family: str, names: Sequence[str], folder: Path, cores: set[int], rows: Connection) -> None:
    """Send the row of each case, but for those that die, hang or take memory; that of a good one names the folder."""
    (folder / "log").write_text("hello\nlast words\n")
    for name in names:
        if name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hangs":
            time.sleep(MINUTE)
        if name == "takes":
            taken = bytearray(b"x" * (250 << 20))
            time.sleep(MINUTE)
            taken.clear()
        rows.send(Row(f"{family}/{name}", exporter=str(folder)))
