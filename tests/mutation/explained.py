"""Why verification misses what it misses: the page has the text beside the mutant."""

# By the name of the fault, and a part of the case's key.
EXPLAINED: dict[tuple[str, str], str] = {}
