"""What is kept of a run: a row for each scene and way, and for each round of writers and of load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """The figures of one part of a run; ``faults`` were found in it."""

    key: str  # killed/SCENE, failing/SCENE, writers/KIND or load/MODE
    digest: str  # of the code that is tried, and of the tests
    counts: Mapping[str, int]
    faults: Sequence[str] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)  # killed: calls at which runs were killed
