"""Neighbours of the cases that once failed: other models of the same kinds, on inputs of our own choice."""
