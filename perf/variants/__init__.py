"""The variants of one model, side by side."""
