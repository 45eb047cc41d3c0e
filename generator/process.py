"""The one door to commands that are run to their end: what they print is kept, and told where they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line that says anything: where tools put what went wrong."""
        lines = [line.strip() for line in f"{self.out}\n{self.err}".splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def run(command: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command without a terminal and wait for it, at most ``timeout`` seconds.

    Raises FileNotFoundError where there is no such program and subprocess.TimeoutExpired, the command killed, where it
    takes longer.
    """
    done = subprocess.run(  # noqa: S603 - the commands are ours
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=environment,
        check=False,
    )
    return Finished(tuple(command), done.returncode, done.stdout, done.stderr)
