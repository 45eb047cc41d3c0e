"""A variant that is to be made from a proven model, and its limits."""

from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.optimize.recipe import Recipe
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.options import Choice, Options, Tolerance
from modelrepo.generator.verification.comparison import INT8, Precision
from modelrepo.generator.verification.proven import Proven

# If answers are judged by their accuracy or use, only NaN and infinity of all differences are refused.
ANY = Precision(Tolerance(relative=1e9), rounding=1e9)
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
        return self.recipe is not None and self.recipe.calibrated

    @property
    def costs_accuracy(self) -> bool:
        """Whether its answers are expected to differ from the source's, so that accuracy is measured."""
        return self.recipe is not None or self.options.prune is not None

    @property
    def plainly_coarse(self) -> bool:
        """Whether only a coarse precision changes it, and the user set no tolerance for its numbers."""
        coarse = self.recipe is not None and self.recipe.precision.tolerance.relative >= INT8.tolerance.relative
        return coarse and not self.options.prune and not self.options.tolerance

    @property
    def by_use(self) -> bool:
        """Whether it is judged by what its answers are for: a coarse precision of a model with likely inputs.

        With the user's tolerance, numbers are compared.
        """
        return self.plainly_coarse and self.proven.source.likely is not None

    @property
    def for_tensorrt(self) -> bool:
        """Whether its graph differs from the one for ONNX Runtime, because TensorRT's parser must accept it."""
        differs = self.options.simplify or (self.recipe is not None and self.recipe.differs_for_tensorrt)
        return differs and self.read_by_tensorrt

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form for it."""
        return 0 if self.recipe and self.recipe.mixes_samples else self.proven.max_batch_size

    @property
    def precision(self) -> Precision | None:
        """How far its answers may be from the source's; None: as far as those of the export."""
        own = self.recipe.precision if self.recipe else None
        return ANY if self.options.prune else own

    @property
    def max_accuracy_drop(self) -> float:
        """The accuracy that it may cost, in 0..1: the user's limit, or the largest default of its changes."""
        own = [self.recipe.max_accuracy_drop] if self.recipe else []
        pruned = [PRUNED_MAX_ACCURACY_DROP] if self.options.prune else []
        asked = self.options.max_accuracy_drop
        return max([*own, *pruned], default=0.0) if asked is None else asked
