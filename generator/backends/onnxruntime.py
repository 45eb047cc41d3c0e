"""ONNX Runtime: serves the verified ONNX model as it is."""

from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.specs.artifacts import Artifact, Order, Serving, Settings

TRITON_NAME = "onnxruntime"
# Triton's onnxruntime backend: -1 basic, 1 extended, 2 none, anything else every optimization.
GRAPH_LEVEL = 0
# 0: as many threads as the host has cores. Written out so that a reader finds the knob.
PARAMETERS = {"intra_op_thread_count": "0"}


def settings(serving: Serving) -> Settings:
    """Return the knobs of ONNX Runtime that are worth finding."""
    return Settings(parameters=PARAMETERS, graph_level=GRAPH_LEVEL)


def build(order: Order) -> Artifact:
    """Return the exported files; Triton looks for ``model.onnx``, external data lies beside it or below."""
    export = order.export
    return Artifact({file.relative_to(export.path.parent).as_posix(): file for file in export.files})


BACKEND = Backend(
    triton_name=TRITON_NAME,
    # Its CPU has neither BF16 convolutions nor FP8 that its own optimizations leave whole: nothing could be proven.
    precisions=("fp32", "fp16", "int8", "int8-dynamic"),
    settings=settings,
    build=build,
    optional_inputs=True,
)
