"""From a verified model to the files of a Triton backend: one module each, and one table."""

from modelrepo.generator.backends import onnxruntime, tensorrt, tensorrt_accelerator
from modelrepo.generator.backends.backend import Backend

BACKENDS: dict[str, Backend] = {
    "onnx": onnxruntime.BACKEND,
    "onnx+tensorrt-ep": tensorrt_accelerator.BACKEND,
    "tensorrt": tensorrt.BACKEND,
}
