"""Frozen data that travels between rooms. No side effects, no frameworks."""
