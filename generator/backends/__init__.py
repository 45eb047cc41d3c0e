"""What one Triton backend serves, made from a verified ONNX model: one module each, and this one table."""

from typing import Protocol

from generator.backends import onnxruntime, tensorrt
from generator.specs import Artifact, Deferred, Instances, Order


class Backend(Protocol):
    """What a backend's module offers.

    ``TRITON_NAME`` is the ``backend`` of a config.pbtxt, ``INSTANCES`` the instance group where the user names none,
    ``GRAPH_LEVEL`` the ``optimization.graph.level`` or None, ``PARAMETERS`` the backend's own ``parameters``.
    """

    TRITON_NAME: str
    INSTANCES: Instances
    GRAPH_LEVEL: int | None
    PARAMETERS: dict[str, str]

    def build(self, order: Order) -> Artifact | Deferred:
        """Make what Triton serves, or say why it can't be made here and which command makes it."""

    def preferred_batch_sizes(self, max_batch_size: int) -> tuple[int, ...]:
        """Return the batch sizes that the dynamic batcher prefers where the user names none."""


BACKENDS: dict[str, Backend] = {"onnx": onnxruntime, "tensorrt": tensorrt}
