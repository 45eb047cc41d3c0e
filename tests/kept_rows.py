"""The results of a long run so far, row by row in a file, so that an interrupted run can be resumed."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Generic, TypeVar

import click

Row = TypeVar("Row")


class KeptRows(Generic[Row]):
    """Rows of a frozen dataclass ``kind``, kept as JSON lines at ``path``; ``fresh`` forgets those of earlier runs."""

    def __init__(self, path: Path, kind: type[Row], fresh: bool = False) -> None:
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # the last line was cut short
            path.write_bytes(whole)
        self.rows = [kind(**json.loads(line)) for line in whole.splitlines()]

    def add(self, row: Row) -> None:
        """Keep a row, at once."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")  # type: ignore[call-overload]


@contextmanager
def resumable() -> Iterator[None]:
    """End the process with 130 at SIGTERM or Ctrl-C, and say that the run goes on from there."""
    for each in (signal.SIGTERM, signal.SIGINT):  # behind `nohup … &` the second is ignored
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on from here", err=True)
        sys.exit(130)
