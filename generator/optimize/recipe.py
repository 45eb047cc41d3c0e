"""The interface of a recipe: its request, its result, and its module."""

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
    """The module of a precision."""

    @property
    def PRECISION(self) -> Precision:  # noqa: N802 - a constant of the module
        """How far its answers may be from those of the source."""

    @property
    def MAX_ACCURACY_DROP(self) -> float:  # noqa: N802
        """The accuracy that it may cost, in 0..1, if the user sets no limit."""

    @property
    def CALIBRATED(self) -> bool:  # noqa: N802
        """Whether it needs data to calibrate with, like the model's real inputs."""

    @property
    def MIXES_SAMPLES(self) -> bool:  # noqa: N802
        """Whether the answer to a sample depends on the others in its batch."""

    @property
    def DIFFERS_FOR_TENSORRT(self) -> bool:  # noqa: N802
        """Whether TensorRT's parser needs a different graph than ONNX Runtime."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802
        """The distributions whose versions decide the result."""

    @property
    def TOOLS(self) -> Mapping[str, str]:  # noqa: N802
        """The tools outside this environment that decide the result, and the versions they must have."""

    def lower(self, request: Request) -> Lowered:
        """Make the model, and check it: ConversionError if nothing was lowered, or the result is not valid."""

    def costs(self, request: Request, lowered: Lowered) -> Mapping[str, float]:
        """Return the loss of each lowered node, as a share of its tensors' magnitude: the larger, the worse."""
