"""The end of a worker process of the long runs of tests."""

import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess


def kill(process: BaseProcess) -> None:
    """Kill what is left of a process, with its session if it came to lead one."""
    if process.pid:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
