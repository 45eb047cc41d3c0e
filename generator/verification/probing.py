"""Probes: inputs that look for what a conversion may have got wrong, made while models are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelrepo.generator.specs.findings import Coverage
from modelrepo.generator.verification.inputs import Pool


@dataclass(frozen=True)
class Probe:
    """Rows that are asked in one batch."""

    pool: Pool
    # Whether the answers must agree even where the source's answer changes if its input changes by rounding: the model
    # compares these values as they are.
    exact: bool = False


class Probing(Protocol):
    """A maker of probes that learns from the rows that the source answered."""

    def probes(self, batch: int) -> Iterator[Probe]:
        """Yield probes, for models that are asked in batches of at most ``batch`` rows."""

    def took(self, pool: Pool) -> None:
        """Note rows of another origin that both models answered alike."""

    def answered(self, probe: Probe, rows: Sequence[int]) -> None:
        """Note the rows of a probe that both models answered alike; the source refused the others."""

    def coverage(self) -> Coverage | None:
        """Return what all rows together reached; None if it can't be measured."""
