"""What conversion buys: the source framework, ONNX Runtime and the served model, called in turns."""
