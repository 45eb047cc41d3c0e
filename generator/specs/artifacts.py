"""The data that is made on the way to a published model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import Signature
from modelrepo.generator.triton.releases import Release

# A form that a source model is exported in, and that backends are made from.
ONNX = "onnx"


@dataclass(frozen=True)
class Weights:
    """Where a model's weights came from."""

    kind: Literal["pretrained", "random", "file", "own", "unknown"]  # own: made by the user's code
    detail: str
    untrained: bool
    sha256: str | None = None  # of the weights' file
    expected_at: str | None = None  # a file, or a pattern of files: an untrained model is stale once it exists


@dataclass(frozen=True)
class Export:
    """An ONNX model on disk, and how it was made."""

    path: Path
    files: tuple[Path, ...]  # all below the folder of ``path``, which is one of them
    signature: Signature
    exporter: str
    opset: int
    ir_version: int
    notes: tuple[str, ...] = ()
    # The model before a graph was put after it, which hides most of its answers; None if there is no such graph.
    within: "Export | None" = None


@dataclass(frozen=True)
class Settings:
    """The settings that one backend adds to a configuration; empty ones and None are left out."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    graph_level: int | None = None  # optimization.graph.level
    accelerator: Mapping[str, str] | None = None  # parameters of ONNX Runtime's accelerator "tensorrt"
    profiles: tuple[str, ...] = ()  # the TensorRT profiles of the instance group
    cuda_graphs: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)  # of symbolic dimensions in the warm-up; 1 if not listed


@dataclass(frozen=True)
class Serving:
    """A model as it will be served: what a backend derives its settings from."""

    name: str  # that the model is published under
    options: Options
    signature: Signature
    precision: str
    max_batch_size: int  # as decided; a config patch may lower it later


@dataclass(frozen=True)
class Order:
    """The input of a backend's build: a verified ONNX model, and how it will be served."""

    export: Export
    precision: str
    max_batch_size: int  # of the configuration: a config patch may have lowered it
    preferred_batch_sizes: tuple[int, ...]
    release: Release
    options: Options
    folder: Path  # where a backend leaves prepared files if it can't finish here
    work: Path  # an empty folder to build in
    progress: Progress


@dataclass(frozen=True)
class Artifact:
    """The files that one backend serves, ready to be staged."""

    files: Mapping[str, Path]  # name inside the version folder -> where the file is now


@dataclass(frozen=True)
class Deferred:
    """A backend whose model was prepared, and is built later."""

    reason: str
    command: str  # finishes it on another machine
    inputs: Mapping[str, object]  # everything that decides the result
    here: bool = False  # it can be built on this machine
