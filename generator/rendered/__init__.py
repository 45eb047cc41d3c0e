"""Text made from a published model."""
