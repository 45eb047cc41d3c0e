"""What is made on the way to a published model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from modelrepo.generator.progress import Progress
    from modelrepo.generator.triton.releases import Release
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import Signature

# A form that a source model is exported in, and that backends are made from.
ONNX = "onnx"


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
class Serving:
    """A model as it will be served: what a backend derives its settings from."""

    name: str  # that the model is published under
    options: Options
    signature: Signature
    precision: str
    max_batch_size: int


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
