"""What a user asks for: flags and modelrepo.toml, read and resolved."""
