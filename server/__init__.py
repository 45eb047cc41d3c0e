"""A real Triton as a context manager, and the Python-based backends it serves with here."""
