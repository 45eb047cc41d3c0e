"""Models wired together: ensembles, from [ensembles.NAME] of modelrepo.toml to a published version."""
