"""Probes: inputs that look for what a conversion may have got wrong, made while models are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.verification.inputs import Pool


class Kind(Enum):
    """When an answer to a row may differ, because rounding decides the source's own."""

    # Never: the model compares these values as they are, with no computation in between.
    EXACT = "exact"
    # If the models also differ near it. If they differ at the value alone, as where one rounds a half up and the other
    # to even, that is not rounding.
    SPECIAL = "special"
    # Always: values at random are not on the edge between two answers on purpose.
    RANDOM = "random"


@dataclass(frozen=True)
class Probe:
    """Rows of one kind that are asked in one batch."""

    pool: Pool
    kind: Kind = Kind.RANDOM


@dataclass(frozen=True)
class Arbitrary:
    """Outputs that depend on a choice: among equal values frameworks choose any, and between two steps either."""

    outputs: frozenset[str] = frozenset()
    # Whether equal values meet on an input; the second argument says whether those count that rounding makes equal.
    tied: Callable[[Arrays, bool], bool] = lambda arrays, near: False
    # The steps of quantized outputs: a value between two may become either.
    steps: Mapping[str, float] = field(default_factory=dict)


class Probing(Protocol):
    """A maker of probes that learns from the rows that the source answered."""

    def probes(self, batch: int) -> Iterator[Probe]:
        """Yield probes, for models that are asked in batches of at most ``batch`` rows."""

    def took(self, pool: Pool) -> None:
        """Note rows of another origin that both models answered alike."""

    def answered(self, probe: Probe, rows: Sequence[int]) -> None:
        """Note the rows of a probe that both models answered alike; the source refused the others."""
