"""What Triton would say of a repository: rules over its files, read and never changed or run."""
