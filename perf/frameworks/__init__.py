"""The speed-up of conversion: the source framework, ONNX Runtime and the served model, called in turn."""
