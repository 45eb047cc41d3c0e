"""How steps of minutes are reported: also where there is no terminal, now and then a line says where a step is."""

import time
from dataclasses import dataclass

from rich.text import Text

from modelrepo.cli.terminal.report import Follower

# The least seconds from one line to the next remark of a running step.
SILENCE_SECONDS = 30.0
NEW_SECONDS = 10.0


@dataclass(frozen=True)
class Ticking:
    """A remark on a terminal, with its age once it is not new: the next one may take minutes."""

    text: str
    start: float

    def __rich__(self) -> Text:
        """Return the remark as it is now."""
        seconds = time.monotonic() - self.start
        return Text(self.text if seconds < NEW_SECONDS else f"{self.text}; {seconds:.0f} s ago")


class LongSteps(Follower):
    """A Follower that prints some remarks of a running step if it can't show them all in place."""

    def __init__(self, quiet: bool, verbose: bool = False) -> None:
        super().__init__(quiet, verbose)
        self._printed = time.monotonic()

    def started(self, title: str) -> None:
        """Show a spinner."""
        super().started(title)
        self._printed = time.monotonic()

    def noted(self, remark: str) -> None:
        """Show the progress of the step, without a terminal at most every SILENCE_SECONDS."""
        if self.status:
            self.status.update(Ticking(f"{self.title} … {remark}", time.monotonic()))
        if self.quiet or self.console.is_terminal or time.monotonic() - self._printed < SILENCE_SECONDS:
            return
        self.console.print(Text(f"          {self.title} … {remark}"), soft_wrap=True)
        self._printed = time.monotonic()
