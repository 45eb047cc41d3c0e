"""ONNX graphs: reading, walking, editing, writing, running and tapping them."""
