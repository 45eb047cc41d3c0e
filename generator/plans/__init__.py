"""TensorRT plans, from their preparation to the repository."""
