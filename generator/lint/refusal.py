"""Problems for which Triton refuses a model, with its own words."""

from modelrepo.generator.lint.finding import Place, Problem


def refused(place: Place, words: str, write: str) -> Problem:
    """Return the problem for which Triton refuses a model, saying ``words``."""
    return Problem(place, f'Triton refuses the model: "{words}"', write)
