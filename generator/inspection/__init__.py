"""What a model file holds: read, never run."""
