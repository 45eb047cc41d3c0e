"""The story of `generate`, from a job to the rows of its report."""
