"""What one Triton backend serves, made from a verified ONNX model: one module each, and this one table."""

from typing import Protocol

from modelrepo.generator.backends import onnxruntime, tensorrt, tensorrt_accelerator
from modelrepo.generator.specs.artifacts import Artifact, Deferred, Order, Settings
from modelrepo.generator.specs.options import Instances, Options
from modelrepo.generator.specs.tensors import Signature


class Backend(Protocol):
    """What a backend's module offers."""

    @property
    def TRITON_NAME(self) -> str:  # noqa: N802 - a constant of the module
        """The ``backend`` of a config.pbtxt."""

    @property
    def INSTANCES(self) -> Instances:  # noqa: N802
        """The instance group where the user names none."""

    @property
    def PRECISIONS(self) -> tuple[str, ...]:  # noqa: N802
        """The precisions of a model that it serves."""

    @property
    def OPTIONS(self) -> tuple[str, ...]:  # noqa: N802
        """The fields of ``Options`` that decide what it serves, and are no matter to other backends."""

    def settings(self, name: str, options: Options, signature: Signature, precision: str, batch: int) -> Settings:
        """Return what the configuration of a model called ``name`` says; ``batch`` is its max_batch_size."""

    def build(self, order: Order) -> Artifact | Deferred:
        """Make what Triton serves, or say why it can't be made here and which command makes it."""

    def preferred_batch_sizes(self, max_batch_size: int) -> tuple[int, ...]:
        """Return the batch sizes that the dynamic batcher prefers where the user names none."""


BACKENDS: dict[str, Backend] = {
    "onnx": onnxruntime,
    "onnx+tensorrt-ep": tensorrt_accelerator,
    "tensorrt": tensorrt,
}
