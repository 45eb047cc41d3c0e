"""Every model that can be named: generated, proven, served; `make coverage` writes docs/reference/coverage.md."""
