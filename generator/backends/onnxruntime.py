"""ONNX Runtime: serves the verified ONNX model as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator.errors import VerificationError
from generator.specs import Arrays, Artifact, Deferred, Instances, Order

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


def open_model(path: Path) -> Callable[[Arrays], dict[str, Any]]:
    """Open an ONNX model on the CPU and return a function that answers named inputs with named outputs.

    Both raise VerificationError with ONNX Runtime's reason: a model that does not run here is not proven.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised, too
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no class but Exception
        raise VerificationError(f"ONNX Runtime can't open the converted model: {error}") from error
    names = [output.name for output in session.get_outputs()]

    def run(arrays: Arrays) -> dict[str, Any]:
        try:
            return dict(zip(names, session.run(names, dict(arrays)), strict=True))
        except Exception as error:
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise VerificationError(f"the converted model fails on {shapes}: {error}") from error

    return run
