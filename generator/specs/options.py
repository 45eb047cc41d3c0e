"""The options of one model, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.specs.tensors import InputShape


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may be from its reference.

    A value passes if its distance is at most ``absolute`` + ``relative`` x the largest magnitude in the same sample of
    the same output. Magnitudes, not single values, set the scale: untrained networks answer around 1e-14 and trained
    ones around 10, and a value near zero among large ones has their rounding error.
    """

    relative: float
    absolute: float = 0.0

    def __str__(self) -> str:
        absolute = f" + {self.absolute:g}" if self.absolute else ""
        return f"{self.relative:g} x magnitude{absolute}"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Tolerance":
        """Read one from JSON as ``dataclasses.asdict`` wrote it; TypeError if it is damaged."""
        check_kinds(document, relative=(int, float), absolute=(int, float))
        return cls(**document)


@dataclass(frozen=True)
class Instances:
    """Triton's instance group."""

    kind: str  # KIND_AUTO, KIND_CPU, KIND_GPU or KIND_MODEL
    count: int


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions Triton serves."""

    kind: Literal["specific", "latest", "all"]
    versions: tuple[int, ...] = ()  # for specific; empty: the published one
    num_versions: int = 1  # for latest


@dataclass(frozen=True)
class Effort:
    """How long verification searches for inputs that a converted model answers wrongly."""

    name: Literal["quick", "normal", "thorough"] = "normal"
    seconds: float | None = None  # instead

    def __str__(self) -> str:
        return self.name if self.seconds is None else f"{self.seconds:g}s"


@dataclass(frozen=True)
class Choice:
    """A backend, and the precision of the model that it serves."""

    backend: str  # a name in ``BACKENDS``
    precision: str = "fp32"

    def __str__(self) -> str:
        return self.backend if self.precision in ("", "fp32") else f"{self.backend}:{self.precision}"


@dataclass(frozen=True)
class Pruning:
    """Which weights of each layer become zero."""

    share: float = 0.5  # the smallest weights, 0..1
    structured: bool = False  # 2 in every 4 instead

    def __str__(self) -> str:
        return "2:4" if self.structured else f"{self.share:.0%}"


@dataclass(frozen=True)
class Calibration:
    """The data that INT8 and FP8 are calibrated with."""

    path: Path | None = None
    count: int = 64  # of random inputs, if there is no path

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.count} random"


@dataclass(frozen=True)
class Assumption:
    """A line of a model's Python that reads a tensor, and is declared to answer the same for every input."""

    path: str  # the end of the file's path
    line: int  # counted from 1
    side: bool | None = None  # of a branch; None: whatever it answers on the example

    def __str__(self) -> str:
        side = "" if self.side is None else f"={str(self.side).lower()}"
        return f"{self.path}:{self.line}{side}"


@dataclass(frozen=True)
class Values:
    """What an input takes, as the user says it: values within bounds, or some values only."""

    name: str  # of the input; empty for a model with one
    low: float | None = None  # inclusive; None: no bound
    high: float | None = None  # inclusive; None: no bound
    choices: tuple[str | float, ...] = ()
    center: float | None = None  # the mean of the user's own values; None: unknown
    spread: float | None = None  # their standard deviation

    def __str__(self) -> str:
        if self.choices:
            return ",".join(str(each) for each in self.choices)
        return ":".join("" if bound is None else f"{bound:g}" for bound in (self.low, self.high))


# An optimization profile as users write it: the smallest, tuned and largest size of each symbolic dimension it names.
Ranges: TypeAlias = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Options:
    """Everything that decides what is generated for one model; ``options/fields.py`` has the help text of each."""

    model: str  # SCHEME:NAME
    backends: tuple[Choice, ...]
    simplify: bool  # clean the graph up
    prune: Pruning | None
    calibration: Calibration
    calibration_method: Literal["minmax", "entropy", "percentile"]
    max_accuracy_drop: float | None  # 0..1; None: the default of the precision
    keep_precise: tuple[str, ...]  # layers that stay in FP32, or "auto"
    profiles: tuple[Ranges, ...]  # TensorRT's; empty: one from 1 to max_batch_size
    plan_builder: Literal["auto", "process", "container", "defer"]
    version_compatible: bool  # plans that newer TensorRT releases load, too
    cuda_graphs: bool
    weights: str  # pretrained, random, or a path
    seed: int  # of random weights and generated inputs
    max_batch_size: int  # 0: no batching
    input_shape: tuple[InputShape, ...]  # examples; empty: the model's own
    dynamic: Mapping[str, Mapping[int, str]]  # input -> axis -> name of the symbolic dimension
    make_batch_dynamic: bool  # rewrite an ONNX file with a fixed batch
    task: str  # of a transformers model; empty: from its configuration
    signature: str  # of a SavedModel; empty: serving_default, or its only one
    with_preprocessing: bool  # take what clients have, such as pictures, and prepare it in the graph
    with_postprocessing: bool  # answer with what clients want, such as labels
    with_decoding: bool  # publish an ensemble beside the model that takes the files of pictures
    head: Literal["", "yolo"]  # the layout of raw answers that the model itself does not name
    top_k: int | None  # classes; None: 5, or all of fewer
    score_threshold: float | None  # 0..1, of detections; None: that of the model's own pipeline
    iou_threshold: float | None  # 0..1, of boxes that overlap a better one; None: 0.7, or 0.45 of YOLOv5
    max_detections: int | None  # of a picture; None: 100
    pooling: Literal["", "mean", "cls"]  # from the embeddings of tokens to one of the text
    opset: int
    exporter: str
    assume_branch: tuple[Assumption, ...]  # values that Python reads while the model is recorded
    name_template: str
    preferred_batch_sizes: tuple[int, ...]
    queue_delay_us: int  # microseconds that the dynamic batcher may wait
    instances: Instances | None  # None: the backend's default
    version_policy: VersionPolicy
    target_release: str  # of Triton, YY.MM
    config_patch: Path | None  # ModelConfig text, merged over the generated config.pbtxt
    templates: Path | None  # folder of templates that replace ours
    labels: Path | None  # the names of a classifier's classes; None: the source's own
    samples: Path | None  # the user's inputs for verification
    label_column: str  # the column or array of samples and calibration data with their labels; empty: by its usual name
    tolerance: Tolerance | None  # None: the precision's
    domain: tuple[Values, ...]  # what inputs take; empty: what the source and the graph say
    verify: bool
    verify_effort: Effort
    trust_source: bool  # load sources that run code of their own
    allow_untrained: bool  # fall back to random weights if pretrained ones can't be downloaded


@dataclass(frozen=True)
class RunOptions:
    """What a user decides for a whole run, and not for one model."""

    repository: Path
    live_check: Literal["auto", "require", "off"]
    client_dir: Path | None  # None: write no clients
    all_or_nothing: bool = False  # a backend that fails keeps the others of its model from being published
    source_timeout: float = 1800.0  # seconds that a source may take for one answer
