"""Versions on disk, published atomically."""
