"""Clients of a running Triton, driven by the model's own metadata. Importable alone."""
