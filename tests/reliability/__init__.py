"""Faults, counted: killed runs, failing file systems, writers at once, and servers under load."""
