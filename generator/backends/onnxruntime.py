"""ONNX Runtime: serves the verified ONNX model as it is."""

from generator.specs import Artifact, Deferred, Instances, Order

TRITON_NAME = "onnxruntime"
# One instance on whatever the host has; left out, Triton would start two on a CPU.
INSTANCES = Instances("KIND_AUTO", 1)
# Triton's onnxruntime backend: -1 basic, 1 extended, 2 none, anything else every optimization.
GRAPH_LEVEL = 0
# 0: as many threads as the host has cores. Written out so that a reader finds the knob.
PARAMETERS = {"intra_op_thread_count": "0"}


def preferred_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return none: ONNX Runtime has no batch size it was built for."""
    return ()


def build(order: Order) -> Artifact | Deferred:
    """Return the exported files; Triton looks for ``model.onnx``, external data lies beside it."""
    return Artifact({file.name: file for file in order.export.files})
