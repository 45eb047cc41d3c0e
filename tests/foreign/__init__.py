"""Tests of other projects as cases of ours: `make foreign` writes docs/reference/foreign.md."""
