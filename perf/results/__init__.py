"""Results: as data, as JSON, and compared."""
