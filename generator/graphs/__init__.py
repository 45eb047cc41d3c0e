"""ONNX graphs: read, walked, edited, written, run and tapped."""
