"""The data that travels through the pipeline: frozen, free of side effects, importable without any framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from generator.errors import ModelRepoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from generator.progress import Progress
    from generator.triton.releases import Release

Array: TypeAlias = "NDArray[Any]"
Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Dim = int | str
Status = Literal["published", "unchanged", "deferred", "skipped", "failed"]


@dataclass(frozen=True)
class Domain:
    """The values an input may take: unbounded floats unless ``low`` and ``high`` (both inclusive) say otherwise.

    ``known`` is False where nothing says what the model can be asked: it may refuse values within the bounds. ``mask``
    is True for a mask of tokens: along the last axis ones and then zeros, and never zeros only. ``choices``, if
    any, are the texts or numbers that the model knows; nothing else is asked. ``center`` and ``spread`` say, along
    the last axis, around which value floats lie and how widely: 0 and 1 where they are empty. ``wave`` is True for the
    samples of a sound: one that does not change is silence, and all zeros.
    """

    low: float | None = None
    high: float | None = None
    known: bool = True
    mask: bool = False
    choices: tuple[str | float, ...] = ()
    center: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    wave: bool = False


# Values of one byte are colours or quantized numbers and use all of their range; larger ones may be places in a list.
BYTES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}


def unknown_domain(dtype: str) -> Domain:
    """Return the values of an input that nothing is known about but its type."""
    low, high = BYTES.get(dtype, (None, None))
    return Domain(low, high, known=False)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. ``shape`` holds sizes, and names for symbolic dimensions; ``dtype`` is numpy's name.

    ``sizes`` are those that a symbolic dimension is tried with, for one that does not take any size; the first is that
    of Triton's warm-up. An ``optional`` input has a value of its own where it is not given.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    domain: Domain = Domain()
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    optional: bool = False

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the concrete shape with every symbolic dimension looked up in ``sizes``."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.shape)

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs in full."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def unbatched(self) -> tuple[TensorSpec, ...]:
        """The tensors that keep Triton from batching.

        These do not have the first input's symbolic leading dimension, or have it in another place, too.
        """
        first = self.inputs[0].shape[:1]
        return tuple(
            spec
            for spec in (*self.inputs, *self.outputs)
            if spec.shape[:1] != first
            or not spec.shape
            or not isinstance(spec.shape[0], str)
            or spec.shape[0] in spec.shape[1:]
        )

    @property
    def required(self) -> "Signature":
        """The same without optional inputs."""
        return Signature(tuple(spec for spec in self.inputs if not spec.optional), self.outputs)

    @property
    def batch_dim(self) -> Dim | None:
        """The leading symbolic dimension that every input and output shares, or None."""
        return None if self.unbatched else self.inputs[0].shape[0]


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


# The types that an input can be said to have, by numpy's names; `object` is a string.
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "object"),
)


@dataclass(frozen=True)
class InputShape:
    """An example of an input, as a user describes it: its whole shape, the batch dimension included.

    ``name`` is empty where a model has one input, and ``dtype`` where nothing was said about it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = ""


# A profile as it is written: the smallest, tuned and largest size of each symbolic dimension that it names.
Ranges: TypeAlias = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Options:
    """Everything that decides what is generated for one model; how each is written is in ``options.FIELDS``."""

    model: str
    backends: tuple[Choice, ...]
    precision: str
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
    repository: Path
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
    live_check: Literal["auto", "require", "off"]
    client_dir: Path | None


@dataclass(frozen=True)
class Weights:
    """Where a model's weights came from; ``sha256`` is that of their file.

    Those of ``own`` kind are what the user's code made. ``expected_at`` is the file whose arrival makes an untrained
    model stale, or a pattern of such files.
    """

    kind: Literal["pretrained", "random", "file", "own"]
    detail: str
    untrained: bool
    sha256: str | None = None
    expected_at: str | None = None


@dataclass(frozen=True)
class Export:
    """An ONNX model on disk: ``path``, the files that belong to it, how it was made and what it reads like.

    All ``files`` lie below the folder of ``path``. ``answers_zeros`` is False where the model is known not to answer
    zeros, with every symbolic dimension at 1: Triton can't warm it up with them.
    """

    path: Path
    files: tuple[Path, ...]
    signature: Signature
    exporter: str
    opset: int
    ir_version: int
    notes: tuple[str, ...] = ()
    answers_zeros: bool = True


@dataclass(frozen=True)
class Worst:
    """The place where converted model and source lie furthest apart, measured against the tolerance."""

    output: str
    family: str
    batch: int
    index: tuple[int, ...]
    difference: float
    limit: float

    @property
    def share_of_limit(self) -> float:
        """The difference as a share of what is allowed."""
        return self.difference / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Live:
    """What the live check in a real Triton found: ``detail`` is the server, or the reason why there was no check.

    ``cases`` and ``max_rel_diff`` are as in Verification, over all protocols; ``largest_merged_batch`` is the largest
    batch that the dynamic batcher formed from single requests, None where it had none to form.
    """

    status: Literal["passed", "skipped"]
    detail: str
    cases: int = 0
    max_rel_diff: float | None = None
    largest_merged_batch: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accuracy:
    """What a lower precision, or pruning, costs: ``value`` of ``samples`` answers are right, in 0..1.

    ``measured`` says what right is: "top-1 of labels", and then ``source`` is what the source itself reaches; or
    "top-1 agreement" or "agreement in the largest element", with the source, whose own is 1. ``classes`` is how many
    different ones the source names.
    """

    measured: str
    samples: int
    classes: int
    source: float
    value: float
    limit: float

    @property
    def drop(self) -> float:
        """How much is lost, in 0..1; below 0 where there are more right answers than the source has."""
        return self.source - self.value


@dataclass(frozen=True)
class Optimization:
    """What was done to the exported model: ``done`` in words, step by step.

    ``kept`` are the nodes that stayed precise; ``sparsity`` is the share of weights that pruning made zero, in 0..1.
    """

    precision: str = "fp32"
    done: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    sparsity: float | None = None
    accuracy: Accuracy | None = None


@dataclass(frozen=True)
class Verification:
    """What verification found. ``passed`` is None where it was not run.

    ``max_rel_diff`` is the largest difference over the largest magnitude of the same sample's output; ``cases``
    counts the pairs of an input and a batch size that were compared; ``batch_invariant`` says whether samples asked
    one by one are answered as in a batch, ``mixing`` which outputs are not; ``top1`` and ``top5`` are agreement rates
    in 0..1 of classifiers. ``live`` is None where no live check was asked for.
    """

    passed: bool | None = None
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None
    cases: int = 0
    batch_invariant: bool | None = None
    mixing: tuple[str, ...] = ()
    tolerance: str = ""
    worst: Worst | None = None
    top1: float | None = None
    top5: float | None = None
    notes: tuple[str, ...] = ()
    live: Live | None = None


@dataclass(frozen=True)
class Settings:
    """What a backend's configuration says beyond what every configuration says.

    ``graph_level`` is ``optimization.graph.level``, ``accelerator`` the parameters of ONNX Runtime's accelerator
    "tensorrt", ``profiles`` the TensorRT profiles of the instance group; None and empty ones are left out. ``sizes``
    are those that the warm-up gives to symbolic dimensions, 1 where it names none.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    graph_level: int | None = None
    accelerator: Mapping[str, str] | None = None
    profiles: tuple[str, ...] = ()
    cuda_graphs: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What a backend is asked to build: a verified ONNX model, and how it will be served.

    ``folder`` is where a backend that can't be finished here leaves what it prepared, ``work`` an empty folder to
    build in.
    """

    export: Export
    precision: str
    max_batch_size: int
    preferred_batch_sizes: tuple[int, ...]
    release: "Release"
    options: Options
    folder: Path
    work: Path
    progress: "Progress"


@dataclass(frozen=True)
class Artifact:
    """What one backend serves, ready to be staged: file names inside a version folder, and where they are now."""

    files: Mapping[str, Path]


@dataclass(frozen=True)
class Deferred:
    """A backend whose model is built after it was prepared: why, and the command that finishes it elsewhere.

    ``inputs`` decide what is built; ``here`` says that it can be built on this machine.
    """

    reason: str
    command: str
    inputs: Mapping[str, object]
    here: bool = False


@dataclass(frozen=True)
class Result:
    """One row of the report: a model for a backend."""

    model: str
    backend: str
    name: str
    status: Status
    version: int | None = None
    path: Path | None = None
    max_batch_size: int | None = None
    verification: Verification = Verification()
    next_step: str | None = None
    notes: tuple[str, ...] = ()
    failure: ModelRepoError | None = None
    client: Path | None = None
    precision: str = "fp32"
    optimization: Optimization = Optimization()


@dataclass(frozen=True)
class Report:
    """What a run did: a result per model and backend, the seconds that each step took, and whether it was cut short."""

    repository: Path
    results: tuple[Result, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
