"""The live check: a staged model answers in a real Triton before it is published."""
