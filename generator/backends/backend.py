"""A row of the table of backends."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from modelrepo.generator.graphs import runtime
from modelrepo.generator.specs import artifacts
from modelrepo.generator.specs.artifacts import Artifact, Deferred, Order, Serving, Settings
from modelrepo.generator.specs.options import Instances
from modelrepo.generator.specs.tensors import Arrays

Answers: TypeAlias = Callable[[Arrays], dict[str, Any]]


@dataclass(frozen=True)
class Form:
    """A form of model that backends are made from; the table of exporters has its ``name``."""

    name: str
    title: str  # as messages call it
    # Opens the file for comparison with the source; VerificationError if it does not run on this machine.
    open: Callable[[Path], Answers]


def _open_onnx(path: Path) -> Answers:
    return runtime.open_model(path, mapped=True)


# One instance on a CPU or a GPU; without a count Triton would start two on a CPU.
ANY_HOST = Instances("KIND_AUTO", 1)
ONNX_FORM = Form(artifacts.ONNX, "ONNX", _open_onnx)


def none_preferred(max_batch_size: int) -> tuple[int, ...]:
    """Return no batch sizes: the backend has none that it was built for."""
    return ()


@dataclass(frozen=True)
class Backend:
    """One way to serve a model: a backend of Triton, and how a verified model becomes the files that it reads."""

    triton_name: str  # the ``backend`` of a config.pbtxt
    precisions: tuple[str, ...]  # those that it serves
    settings: Callable[[Serving], Settings]  # what its config.pbtxt says beyond what every config.pbtxt says
    build: Callable[[Order], Artifact | Deferred]  # makes the files, or returns the command that makes them
    instances: Instances = ANY_HOST  # the instance group if the user names none
    options: tuple[str, ...] = ()  # the fields of ``Options`` that have an effect on it, and not on every backend
    preferred_batch_sizes: Callable[[int], tuple[int, ...]] = none_preferred  # by max_batch_size, as default
    form: Form = ONNX_FORM  # what it is made from
    optional_inputs: bool = False  # whether a request may leave out inputs that have a value of their own
    read_by_tensorrt: bool = False  # whether TensorRT's parser reads its graph; ONNX Runtime need not run it here
