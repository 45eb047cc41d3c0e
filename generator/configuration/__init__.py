"""What a config.pbtxt says, and writing it."""
