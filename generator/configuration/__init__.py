"""The decisions of a config.pbtxt, and its text."""
