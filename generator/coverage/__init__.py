"""Verification coverage: the behaviours of a graph, and the search for inputs that reach them."""
