"""A model that was compared with its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.findings import Optimization, Verification
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.verification.comparison import Precision
from modelrepo.generator.verification.datasets import NO_DATA, Dataset
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import ONLY_SAMPLES

CONSTANT = (
    "a backend supports optional inputs only in a graph that is served as it was verified, and not every backend does"
)


@dataclass(frozen=True)
class Proven:
    """An exported model that was compared with its source."""

    source: SourceModel
    # The answers that the served model must give: those of the source, or of the variant that was proven against it.
    reference: Remembered
    export: Export
    verification: Verification
    max_batch_size: int  # the largest batch that Triton may form
    notes: tuple[str, ...]
    optimization: Optimization = field(default_factory=Optimization)
    precision: Precision | None = None  # how far the served model may differ from ``reference``; None: as in FP32
    twin: Path | None = None  # a model that computes the same, if ONNX Runtime's CPU lacks operators of ``export``
    samples: Dataset = NO_DATA  # the user's
    # Shapes of zeros that both models answer; None: there are none.
    warm_up: Mapping[str, tuple[int, ...]] | None = None
    ranges: Mapping[str, float] = field(default_factory=dict)  # the largest magnitude of outputs of a known range

    @property
    def only_samples(self) -> bool:
        """Whether the source answers nothing but the user's samples in the same way each time."""
        return any(note.startswith(ONLY_SAMPLES) for note in self.verification.notes)

    @property
    def closed(self) -> "Proven":
        """The model without optional inputs, and without samples that set them: for graphs where they are constants."""
        optional = [spec.name for spec in self.export.signature.inputs if spec.optional]
        if not optional:
            return self
        return replace(
            self,
            export=replace(self.export, signature=self.export.signature.required),
            notes=(*self.notes, f"{', '.join(optional)} can't be given: {CONSTANT}"),
            samples=self.samples.only(lambda pool, row: pool.arrays.keys().isdisjoint(optional)),
        )
