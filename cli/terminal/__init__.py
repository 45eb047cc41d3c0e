"""How results, errors and tables look in a terminal."""
