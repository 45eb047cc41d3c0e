"""Problems for which Triton refuses a model, with its own words."""

from modelrepo.generator.lint.finding import Edit, Place, Problem

# Of what Triton says of a long text, its beginning and end are shown.
LONGEST, KEPT = 600, 250


def refused(place: Place, words: str, write: str, edits: tuple[Edit, ...] = ()) -> Problem:
    """Return the problem for which Triton refuses a model, saying ``words``."""
    return Problem(place, f'Triton refuses the model: "{shortened(words)}"', write, edits)


def shortened(words: str) -> str:
    """Return words without their middle if they are very long: a name may have megabytes."""
    return words if len(words) <= LONGEST else f"{words[:KEPT]} … {words[-KEPT:]}"
