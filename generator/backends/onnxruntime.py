"""ONNX Runtime: serves the verified ONNX model as it is."""

from modelrepo.generator.specs.artifacts import Artifact, Deferred, Order, Settings
from modelrepo.generator.specs.options import Instances, Options
from modelrepo.generator.specs.tensors import Signature

TRITON_NAME = "onnxruntime"
# One instance on whatever the host has; left out, Triton would start two on a CPU.
INSTANCES = Instances("KIND_AUTO", 1)
# Its CPU has neither BF16 convolutions nor FP8 that its own optimizations leave whole: nothing could be proven.
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
OPTIONS: tuple[str, ...] = ()
# Triton's onnxruntime backend: -1 basic, 1 extended, 2 none, anything else every optimization.
GRAPH_LEVEL = 0
# 0: as many threads as the host has cores. Written out so that a reader finds the knob.
PARAMETERS = {"intra_op_thread_count": "0"}


def settings(name: str, options: Options, signature: Signature, precision: str, batch: int) -> Settings:
    """Return the knobs of ONNX Runtime that are worth finding."""
    return Settings(parameters=PARAMETERS, graph_level=GRAPH_LEVEL)


def preferred_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return none: ONNX Runtime has no batch size it was built for."""
    return ()


def build(order: Order) -> Artifact | Deferred:
    """Return the exported files; Triton looks for ``model.onnx``, external data lies beside it or below."""
    export = order.export
    return Artifact({file.relative_to(export.path.parent).as_posix(): file for file in export.files})
