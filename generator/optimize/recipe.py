"""What a recipe of a precision is asked for, what it returns, and what its module offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.verification.comparison import Precision
from modelrepo.generator.verification.inputs import Pool


@dataclass(frozen=True)
class Request:
    """A verified FP32 model, and how its precision is to be lowered."""

    export: Export
    folder: Path  # empty; the result is written there
    kept: tuple[str, ...] = ()  # names of nodes that stay in FP32
    data: tuple[Pool, ...] = ()  # to calibrate with; empty if the recipe is not ``CALIBRATED``
    method: str = "minmax"  # of calibration: minmax, entropy or percentile
    for_tensorrt: bool = False  # make a graph that TensorRT's parser accepts


@dataclass(frozen=True)
class Lowered:
    """A model of a lower precision."""

    export: Export  # with the same inputs and outputs as the original, in FP32
    done: str  # what the recipe did in a few words, such as "161 of 161 weights are FP16"
    layers: tuple[str, ...]  # names of the nodes that were lowered
    twin: Path | None = None  # shows the cost of the precision on a CPU, if ``export`` does not
    runs_here: bool = True  # ONNX Runtime's CPU can run ``export``


class Recipe(Protocol):
    """What the module of a precision offers."""

    @property
    def PRECISION(self) -> Precision:  # noqa: N802 - a constant of the module
        """How far its answers may lie from those of the source."""

    @property
    def MAX_ACCURACY_DROP(self) -> float:  # noqa: N802
        """The share of samples, in 0..1, that it may answer worse where the user sets no limit."""

    @property
    def CALIBRATED(self) -> bool:  # noqa: N802
        """Whether it needs data like that which the model will be asked."""

    @property
    def MIXES_SAMPLES(self) -> bool:  # noqa: N802
        """Whether the answer to a sample depends on the others in its batch."""

    @property
    def DIFFERS_FOR_TENSORRT(self) -> bool:  # noqa: N802
        """Whether TensorRT's parser takes another graph than ONNX Runtime runs best."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802
        """The distributions whose versions decide the outcome."""

    @property
    def TOOLS(self) -> Mapping[str, str]:  # noqa: N802
        """The tools outside this environment that decide it, and the versions that they have to be."""

    def lower(self, request: Request) -> Lowered:
        """Make the model, and check that it was made: ConversionError where nothing was lowered, or it is not valid."""

    def costs(self, request: Request, lowered: Lowered) -> Mapping[str, float]:
        """Return what each lowered node loses, as a share of its tensors' magnitude: the larger, the worse."""
