"""What a user asks for, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    pass
from modelrepo.generator.specs.tensors import InputShape


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may lie from its reference.

    A value passes when its distance is at most ``absolute`` + ``relative`` x the largest magnitude in the same sample
    of the same output. Magnitudes, not single values, set the scale: untrained networks answer around 1e-14 and
    trained ones around 10, and a value near zero among large ones carries their rounding error.
    """

    relative: float
    absolute: float = 0.0

    def __str__(self) -> str:
        absolute = f" + {self.absolute:g}" if self.absolute else ""
        return f"{self.relative:g} x magnitude{absolute}"


@dataclass(frozen=True)
class Instances:
    """Triton's instance group: ``count`` instances of ``kind`` (KIND_AUTO, KIND_CPU, KIND_GPU, KIND_MODEL)."""

    kind: str
    count: int


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions Triton serves: ``kind`` specific (empty ``versions``: the published one), latest or all."""

    kind: Literal["specific", "latest", "all"]
    versions: tuple[int, ...] = ()
    num_versions: int = 1


@dataclass(frozen=True)
class Choice:
    """A backend of the table ``BACKENDS``, and the precision that its model is made in."""

    backend: str
    precision: str = "fp32"

    def __str__(self) -> str:
        return self.backend if self.precision in ("", "fp32") else f"{self.backend}:{self.precision}"


@dataclass(frozen=True)
class Pruning:
    """Which weights of each layer become zero: the smallest ``share`` of them, or ``structured`` 2 in every 4."""

    share: float = 0.5
    structured: bool = False

    def __str__(self) -> str:
        return "2:4" if self.structured else f"{self.share:.0%}"


@dataclass(frozen=True)
class Calibration:
    """What to calibrate with: the data at ``path``, or ``count`` random inputs where there is none."""

    path: Path | None = None
    count: int = 64

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.count} random"


# A profile as it is written: the smallest, tuned and largest size of each symbolic dimension that it names.
Ranges: TypeAlias = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Options:
    """Everything that decides what is generated for one model; how each is written is in ``options.FIELDS``."""

    model: str
    backends: tuple[Choice, ...]
    simplify: bool
    prune: Pruning | None
    calibration: Calibration
    calibration_method: Literal["minmax", "entropy", "percentile"]
    max_accuracy_drop: float | None
    keep_precise: tuple[str, ...]
    profiles: tuple[Ranges, ...]
    plan_builder: Literal["auto", "process", "container", "defer"]
    version_compatible: bool
    cuda_graphs: bool
    weights: str
    seed: int
    max_batch_size: int
    input_shape: tuple[InputShape, ...]
    dynamic: Mapping[str, Mapping[int, str]]
    make_batch_dynamic: bool
    task: str
    signature: str
    opset: int
    exporter: str
    name_template: str
    preferred_batch_sizes: tuple[int, ...]
    queue_delay_us: int
    instances: Instances | None
    version_policy: VersionPolicy
    target_release: str
    config_patch: Path | None
    templates: Path | None
    samples: Path | None
    tolerance: Tolerance | None
    verify: bool
    trust_source: bool
    allow_untrained: bool


@dataclass(frozen=True)
class RunOptions:
    """What a user decides for a whole run, and not for one model."""

    repository: Path
    live_check: Literal["auto", "require", "off"]
    client_dir: Path | None  # None: no clients are written
