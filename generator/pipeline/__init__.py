"""The story of `generate`, and the rows that it reports."""
