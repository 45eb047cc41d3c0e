"""Triton's releases, and the text of its configurations."""
