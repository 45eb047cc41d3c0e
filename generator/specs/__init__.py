"""Frozen data that travels between rooms: no side effects, no frameworks."""
