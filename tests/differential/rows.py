"""What is kept of a run: one row for each module of the corpus, and for each block of random repositories."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.differential.trial import Outcome


@dataclass(frozen=True)
class Row:
    """The figures of one block of cases."""

    key: str  # corpus/MODULE, or the kind of a random block and its seed
    digest: str  # of the linter and the cases
    models: int
    loads: int  # how many of them Triton serves
    agreements: int
    found: Mapping[str, int]  # errors that this server decides, by code: in how many models
    undecided: Mapping[str, int]  # errors that it does not decide
    disagreements: Sequence[str] = ()
    completions: int = 0  # configurations that were compared with what Triton completes them to
    completed_otherwise: Sequence[str] = field(default_factory=tuple)


def row_of(key: str, digest: str, outcomes: Sequence[Outcome], disagreements: Sequence[str]) -> Row:
    """Return the row of a block."""
    return Row(
        key,
        digest,
        models=len(outcomes),
        loads=sum(each.verdict.loads for each in outcomes),
        agreements=sum(each.agrees for each in outcomes),
        found=counted(each.errors for each in outcomes),
        undecided=counted(each.undecided for each in outcomes),
        disagreements=disagreements,
        completions=sum(bool(each.completed) for each in outcomes),
        completed_otherwise=[f"{each.name}: {each.otherwise}" for each in outcomes if each.otherwise],
    )


def counted(codes: Iterable[Iterable[str]]) -> dict[str, int]:
    """Return in how many models each code is found."""
    return dict(sorted(Counter(code for each in codes for code in each).items()))
