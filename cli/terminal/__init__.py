"""How results, errors and tables look in a terminal, and what a user types becomes."""
