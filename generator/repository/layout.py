"""The names of files in a model repository."""

CONFIG = "config.pbtxt"
LABELS = "labels.txt"
# In a version folder of an ensemble: the models that it pins.
MEMBERS = "members.json"
