"""Models wired together: ensembles of published models, proven end to end."""
