"""The layer that a weight belongs to, by its name."""

TOP = "(top level)"


def layer_of(name: str, separator: str) -> str:
    """Return the part of a weight's name before its own: the weight ``a.fc.bias`` belongs to the layer ``a.fc``."""
    return name.rpartition(separator)[0] or TOP
