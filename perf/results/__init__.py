"""What was found: as data, as JSON, and compared."""
