"""Asking a staged model in a real Triton before it is published."""
