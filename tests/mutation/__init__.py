"""A mutation test of the proof itself: `make mutation` writes docs/reference/mutation.md."""
