"""The names of files in a model repository."""

LABELS = "labels.txt"


CONFIG = "config.pbtxt"
