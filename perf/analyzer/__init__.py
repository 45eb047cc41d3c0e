"""NVIDIA's perf_analyzer: finding it, running it, and reading its results."""
