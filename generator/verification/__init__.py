"""Verification that two models give the same answers: their inputs, and how far answers may differ."""
