"""A variant that is to be made of a proven model, and how far it may go."""

from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.optimize.recipe import Recipe
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.options import Choice, Options, Tolerance
from modelrepo.generator.verification.comparison import Precision
from modelrepo.generator.verification.proven import Proven

# Answers of a pruned model are others, and judged by its accuracy: of all distances only NaN and infinity are refused.
PRUNED = Precision(Tolerance(relative=1e9), rounding=1e9)
PRUNED_MAX_ACCURACY_DROP = 0.03


@dataclass(frozen=True)
class Task:
    """A variant to make."""

    choice: Choice
    read_by_tensorrt: bool
    proven: Proven
    options: Options
    recipe: Recipe | None  # None if the precision stays
    folder: Path  # of this variant alone
    progress: Progress

    @property
    def calibrated(self) -> bool:
        """Whether it needs data to calibrate with."""
        return self.recipe is not None and self.recipe.CALIBRATED

    @property
    def costs_accuracy(self) -> bool:
        """Whether its answers are meant to be others than the source's, so that their accuracy is measured."""
        return self.recipe is not None or self.options.prune is not None

    @property
    def for_tensorrt(self) -> bool:
        """Whether it is another graph than ONNX Runtime would get, because TensorRT's parser must take it."""
        differs = self.options.simplify or (self.recipe is not None and self.recipe.DIFFERS_FOR_TENSORRT)
        return differs and self.read_by_tensorrt

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form of it."""
        return 0 if self.recipe and self.recipe.MIXES_SAMPLES else self.proven.max_batch_size

    @property
    def precision(self) -> Precision | None:
        """How far its answers may lie from the source's; None for as far as those of the export."""
        own = self.recipe.PRECISION if self.recipe else None
        return PRUNED if self.options.prune else own

    @property
    def max_accuracy_drop(self) -> float:
        """How much accuracy it may cost, in 0..1: the user's limit, or the widest of what is done to it."""
        own = [self.recipe.MAX_ACCURACY_DROP] if self.recipe else []
        pruned = [PRUNED_MAX_ACCURACY_DROP] if self.options.prune else []
        asked = self.options.max_accuracy_drop
        return max([*own, *pruned], default=0.0) if asked is None else asked
