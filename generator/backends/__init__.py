"""What one Triton backend serves, made from a verified ONNX model: one module each, and this one table."""

from collections.abc import Mapping
from typing import Protocol

from generator.backends import onnxruntime, tensorrt
from generator.specs import Artifact, Deferred, Instances, Order


class Backend(Protocol):
    """What a backend's module offers."""

    @property
    def TRITON_NAME(self) -> str:  # noqa: N802 - a constant of the module
        """The ``backend`` of a config.pbtxt."""

    @property
    def INSTANCES(self) -> Instances:  # noqa: N802
        """The instance group where the user names none."""

    @property
    def GRAPH_LEVEL(self) -> int | None:  # noqa: N802
        """The configuration's ``optimization.graph.level``, or None for none."""

    @property
    def PARAMETERS(self) -> Mapping[str, str]:  # noqa: N802
        """The backend's own ``parameters`` in the configuration."""

    def build(self, order: Order) -> Artifact | Deferred:
        """Make what Triton serves, or say why it can't be made here and which command makes it."""

    def preferred_batch_sizes(self, max_batch_size: int) -> tuple[int, ...]:
        """Return the batch sizes that the dynamic batcher prefers where the user names none."""


BACKENDS: dict[str, Backend] = {"onnx": onnxruntime, "tensorrt": tensorrt}
