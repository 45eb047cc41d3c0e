"""Load tests: the built-in ones as TOML, reading and running one, and its findings."""
