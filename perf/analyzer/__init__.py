"""NVIDIA's perf_analyzer: where it comes from, how it is asked, and what it says."""
