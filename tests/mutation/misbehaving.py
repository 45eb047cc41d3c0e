"""Work for the tests of processes: tasks that die or hang."""

import os
import time
from collections.abc import Iterator


def misbehave(task: str) -> Iterator[str]:
    """Yield the name of a task, twice; one called ``dies`` or ``hangs`` does so after the first."""
    yield task
    if task == "dies":
        os._exit(3)
    while task == "hangs":
        time.sleep(1)
    yield task.upper()
