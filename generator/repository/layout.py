"""The names of files in a model repository."""

CONFIG = "config.pbtxt"
LABELS = "labels.txt"
