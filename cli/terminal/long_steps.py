"""How steps of minutes are reported: also where there is no terminal, now and then a line says where a step is."""

import time

from rich.text import Text

from modelrepo.cli.terminal.report import Follower

# The least seconds from one line to the next remark of a running step.
SILENCE_SECONDS = 30.0


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
        super().noted(remark)
        if self.quiet or self.console.is_terminal or time.monotonic() - self._printed < SILENCE_SECONDS:
            return
        self.console.print(Text(f"          {self.title} … {remark}"), soft_wrap=True)
        self._printed = time.monotonic()
