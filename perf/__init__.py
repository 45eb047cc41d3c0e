"""Measuring what is served: perf_analyzer, load tests, comparisons, and reports of them."""
