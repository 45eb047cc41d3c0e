"""The behaviours of a model's own Python: its lines, and both sides of each branch on a tensor's value."""

from collections.abc import Callable, Mapping
from typing import Any

from modelrepo.generator.specs.tensors import Array, Arrays

# The calls of the source that are watched: tracing lines slows a model's Python down.
MOST_CALLS = 256
Run = Callable[[Arrays], Mapping[str, Array]]


class OwnCode:
    """Watches the user's files while their model runs; ``watched`` is that of the ``SourceModel``."""

    def __init__(self, watched: Callable[[Callable[[], Any]], Any]) -> None:
        self._watched = watched
        self._ran: Any = None
        self._calls = self._known = 0

    def watching(self, run: Run) -> Run:
        """Return a run that notes what ran of the user's files."""

        def watched(arrays: Arrays) -> Mapping[str, Array]:
            if self._calls >= MOST_CALLS:
                return run(arrays)
            self._calls += 1
            answers: dict[str, Array] = {}
            ran = self._watched(lambda: answers.update(run(arrays)))
            self._ran = ran if self._ran is None else self._ran | ran
            return answers

        return watched

    def news(self) -> bool:
        """Whether something ran for the first time since this was last asked."""
        _, seen, _ = self.counted()
        before, self._known = self._known, seen
        return seen > before

    def counted(self) -> tuple[int, int, tuple[str, ...]]:
        """Return how many behaviours there are, how many were seen, and the others in words."""
        if self._ran is None:
            return 0, 0, ()
        unseen = [
            f"{branch.place}: never {str(side).lower()}"
            for branch in self._ran.branches
            for side in (True, False)
            if side not in branch.sides
        ]
        sides = 2 * len(self._ran.branches)
        missing = (*unseen, *(f"{place}: never ran" for place in self._ran.missed))
        count = sides + len(self._ran.executable)
        return count, count - len(missing), missing
