"""Model files as rules need them: read without the frameworks that run them, and without their weights."""
