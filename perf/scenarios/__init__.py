"""Load tests: the built-in ones as TOML, how one is read and played, and what it shows."""
