"""What one Triton backend serves, made from a verified model: one module each, and this one table."""

from modelrepo.generator.backends import onnxruntime, tensorrt, tensorrt_accelerator
from modelrepo.generator.backends.backend import Backend

BACKENDS: dict[str, Backend] = {
    "onnx": onnxruntime.BACKEND,
    "onnx+tensorrt-ep": tensorrt_accelerator.BACKEND,
    "tensorrt": tensorrt.BACKEND,
}
