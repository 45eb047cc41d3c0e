"""TensorRT plans from their preparation to the repository: what is pending, how it is finished, what proves it."""
