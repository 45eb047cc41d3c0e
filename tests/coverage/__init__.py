"""Every model that can be named, generated and served: `make coverage` writes docs/reference/coverage.md and .csv."""
