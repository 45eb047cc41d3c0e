"""TensorRT plans from preparation to publication."""
