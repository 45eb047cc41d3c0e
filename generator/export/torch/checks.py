"""Checks in a model's Python: ``assert`` and ``if …: raise``. The source refuses the inputs that do not pass them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from modelrepo.generator.sources.pytorch.places import Place


def is_check(place: Place) -> bool:
    """Whether values that a line reads only decide whether the code goes on; False if its file can't be read."""
    return place.line in _lines(place.filename)


@cache
def _lines(filename: str) -> frozenset[int]:
    """Return the lines of a file that belong to the condition of a check."""
    try:
        tree = ast.parse(Path(filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(line for test in _conditions(tree) for line in range(test.lineno, (test.end_lineno or 0) + 1))


def _conditions(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        raises = isinstance(node, ast.Assert) or (
            isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and node.body[0].lineno > node.test.lineno
        )
        if raises and not any(isinstance(each, ast.NamedExpr) for each in ast.walk(node)):
            yield node.test  # type: ignore[attr-defined]
