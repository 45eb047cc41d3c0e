"""The linter against the real server: a repository is given to both, and they must agree."""
