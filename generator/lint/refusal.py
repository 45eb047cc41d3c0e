"""Problems for which Triton refuses a model, with its own words."""

from modelrepo.generator.lint.finding import Edit, Place, Problem


def refused(place: Place, words: str, write: str, edits: tuple[Edit, ...] = ()) -> Problem:
    """Return the problem for which Triton refuses a model, saying ``words``."""
    return Problem(place, f'Triton refuses the model: "{words}"', write, edits)
