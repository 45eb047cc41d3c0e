"""A recipe, its request and its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.verification.comparison import Precision
from modelrepo.generator.verification.inputs import Pool


@dataclass(frozen=True)
class Request:
    """A verified FP32 model, and how its precision is to be lowered."""

    export: Export
    folder: Path  # empty; the result is written there
    kept: tuple[str, ...] = ()  # names of nodes that stay in FP32
    data: tuple[Pool, ...] = ()  # to calibrate with; empty if the recipe is not ``calibrated``
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
    rather: tuple[str, ...] = ()  # names of nodes to keep in FP32 if the model's answers are too far off


@dataclass(frozen=True)
class Recipe:
    """A way to lower FP32 to one precision."""

    # Makes the model, and checks it: ConversionError if nothing was lowered, or the result is not valid.
    lower: Callable[[Request], Lowered]
    # Returns the loss of each lowered node, as a share of its tensors' magnitude: the larger, the worse.
    costs: Callable[[Request, Lowered], Mapping[str, float]]
    precision: Precision  # how far its answers may be from those of the source
    max_accuracy_drop: float  # the accuracy that it may cost, in 0..1, if the user sets no limit
    calibrated: bool = False  # whether it needs data to calibrate with, like the model's real inputs
    mixes_samples: bool = False  # whether the answer to a sample depends on the others in its batch
    differs_for_tensorrt: bool = False  # whether TensorRT's parser needs a different graph than ONNX Runtime
    packages: tuple[str, ...] = ("onnx", "onnxruntime")  # the distributions whose versions decide the result
    # The tools outside this environment that decide the result, and the versions they must have.
    tools: Mapping[str, str] = field(default_factory=dict)
