"""Reports of what the pipeline is doing, passed to a listener that it knows nothing about."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Remark(str):
    """A note for the user that is no reason to worry."""


class Listener:
    """Ignores all events of a run; a terminal or a log overrides the methods that it needs."""

    def started(self, title: str) -> None:
        """Note that a step begins."""

    def finished(self, title: str, seconds: float, outcome: str) -> None:
        """Note that a step has succeeded; ``outcome`` is a short result or remark."""

    def failed(self, title: str) -> None:
        """Note that a step has failed; the error is reported elsewhere."""

    def advanced(self, title: str, done: int, total: int) -> None:
        """Note how many bytes of a download are done; ``total`` is 0 if the server does not say."""

    def noted(self, remark: str) -> None:
        """Note where the running step is, in a few words that stand until the next remark."""

    def shown(self, line: str) -> None:
        """Show the user a line."""

    def ran(self, command: str) -> None:
        """Note the command line of another program that was run, as it can be copied into a shell."""

    def warned(self, message: str) -> None:
        """Warn the user of something that does not stop the run."""


class Step:
    """A running step; set ``outcome`` to a remark that is reported when it ends."""

    def __init__(self) -> None:
        self.outcome = ""


class Progress:
    """Times the steps of a run and informs a listener; keeps the ``seconds`` by kind of step, and all ``warnings``."""

    def __init__(self, listener: Listener | None = None) -> None:
        self.listener = listener or Listener()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self._start = perf_counter()

    @contextmanager
    def step(self, kind: str, title: str) -> Iterator[Step]:
        """Time a step of a ``kind`` (load, export, verify, …) under a title for the user."""
        step = Step()
        start = perf_counter()
        self.listener.started(title)
        try:
            yield step
        except BaseException:
            self.listener.failed(title)
            raise
        elapsed = perf_counter() - start
        self.seconds[kind] = self.seconds.get(kind, 0.0) + elapsed
        self.listener.finished(title, elapsed, step.outcome)

    def note(self, remark: str) -> None:
        """Pass on where the running step is."""
        self.listener.noted(remark)

    def show(self, line: str) -> None:
        """Pass on a line for the user."""
        self.listener.shown(line)

    def show_command(self, command: str) -> None:
        """Pass on the command line of another program that was run."""
        self.listener.ran(command)

    def tell(self, note: str, of: str) -> None:
        """Pass a note on a model on: a Remark as a line, any other as a warning."""
        (self.show if isinstance(note, Remark) else self.warn)(f"{of}: {note}")

    def warn(self, message: str) -> None:
        """Pass a warning on, and remember it."""
        self.warnings.append(message)
        self.listener.warned(message)

    def total(self) -> dict[str, float]:
        """Return the seconds by kind of step, and of the whole run as ``total``."""
        return {**self.seconds, "total": perf_counter() - self._start}
