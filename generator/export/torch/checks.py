"""Lines whose values of tensors don't decide an answer, although Python reads them.

Checks are such lines, ``assert``, ``if …: raise`` and ``torch._assert(…)``: the source refuses the inputs that do not
pass. So are those of libraries that know of recordings, and were compared with many inputs.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from modelrepo.generator.sources.pytorch.places import Place, readable

# Functions of torch that check.
CHECKING = {"_assert", "_check", "_check_value", "_check_index", "_check_type", "_check_tensor_all"}
# Code of libraries, by the beginning of its path: how it reads values does not change what it answers. Detectors count
# boxes to choose between ways with the same result; Longformer and LED ask whether any word has global attention, of a
# mask that marks none.
HARMLESS = (
    *("torchvision/models/detection/", "torchvision/ops/"),
    *("transformers/models/longformer/", "transformers/models/led/"),
)


def is_check(place: Place) -> bool:
    """Whether values that a line reads only decide whether the code goes on; False if its file can't be read."""
    return place.line in _lines(place.filename)


def is_caught(place: Place) -> bool:
    """Whether what a line raises, or what it calls, is caught by its own function: a check there decides."""
    return place.line in _caught(place.filename)


def is_harmless(place: Place) -> bool:
    """Whether a line is of a library that reads values without a recording answering otherwise."""
    return readable(place.filename).startswith(HARMLESS)


@cache
def _lines(filename: str) -> frozenset[int]:
    """Return the lines of a file that belong to the condition of a check."""
    return _spanned(_conditions(_tree(filename)))


@cache
def _caught(filename: str) -> frozenset[int]:
    """Return the lines of a file whose errors are caught in the same file's ``try``."""
    tries = (node for node in ast.walk(_tree(filename)) if isinstance(node, ast.Try) and node.handlers)
    return _spanned(line for node in tries for line in node.body)


def _spanned(nodes: Iterable[ast.expr | ast.stmt]) -> frozenset[int]:
    return frozenset(line for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1))


def _tree(filename: str) -> ast.AST:
    """Return the syntax tree of a file; an empty one if it can't be read."""
    try:
        return ast.parse(Path(filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _conditions(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        raises = isinstance(node, ast.Assert) or (
            isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and node.body[0].lineno > node.test.lineno
        )
        if raises and not any(isinstance(each, ast.NamedExpr) for each in ast.walk(node)):
            yield node.test  # type: ignore[attr-defined]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Attribute) and function.attr in CHECKING:
                yield node.value
