"""A model that was compared with its source."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.findings import Optimization, Verification
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.verification.comparison import Precision
from modelrepo.generator.verification.datasets import NOTHING, Dataset
from modelrepo.generator.verification.remembered import Remembered

CONSTANT = "only ONNX Runtime has optional inputs, and only in a graph that is served as it was verified"


@dataclass(frozen=True)
class Proven:
    """An exported model with what verification says of it, and the largest batch that Triton may form.

    ``reference`` is a run that answers as the served model must: the source's, or that of the variant that was proven
    against it, with the answers that were asked for; ``precision`` is how far another run of it may answer differently,
    None for FP32. ``twin`` computes the same where ONNX Runtime's CPU lacks operators of that variant. ``samples`` are
    the user's.
    """

    source: SourceModel
    reference: Remembered
    export: Export
    verification: Verification
    max_batch_size: int
    notes: tuple[str, ...]
    optimization: Optimization = field(default_factory=Optimization)
    precision: Precision | None = None
    twin: Path | None = None
    samples: Dataset = NOTHING

    @property
    def closed(self) -> "Proven":
        """The same without optional inputs, and samples that give them: for what has their values as constants."""
        optional = [spec.name for spec in self.export.signature.inputs if spec.optional]
        if not optional:
            return self
        return replace(
            self,
            export=replace(self.export, signature=self.export.signature.required),
            notes=(*self.notes, f"{', '.join(optional)} can't be given: {CONSTANT}"),
            samples=self.samples.only(lambda pool, row: pool.arrays.keys().isdisjoint(optional)),
        )
