"""The onnxruntime backend: ONNX models in ONNX Runtime, on the CPU."""
