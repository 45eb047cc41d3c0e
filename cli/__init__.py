"""The commands: each parses, calls, prints and chooses the exit code."""
