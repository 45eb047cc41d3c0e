"""Python files that users point at: the functions in them that may return a model, found without running any."""

import ast
import shlex
from pathlib import Path

from modelrepo.generator.errors import first_line

SHOWN = 4
# The last part of the classes that users derive their networks from.
BASES = ("Module", "Model")


def hint(path: Path) -> str:
    """Return the hint that names the functions and networks of a file that need no arguments."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        return f"It is a Python file that Python can't read{place}: {first_line(getattr(error, 'msg', error))}"
    named = (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
    found = [node.name for node in named if _makes(node)]
    name = module(path)
    where = "" if path.resolve().is_relative_to(Path.cwd()) else f"In the folder {path.parent}: "
    if not found:
        return (
            "It is a Python file: write a function without arguments in it that returns the model; then "
            f"{where}--model python:{name}:FUNCTION"
        )
    either = " or ".join(shlex.quote(f"python:{name}:{each}") for each in found[:SHOWN])
    return f"It is a Python file: name the function or class that makes the model. {where}--model {either}"


def module(path: Path) -> str:
    """Return the name that a file is imported under, from the current folder or else from its own."""
    here = path.resolve()
    inside = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else Path(here.name)
    return ".".join(inside.with_suffix("").parts)


def _makes(node: ast.FunctionDef | ast.ClassDef) -> bool:
    if isinstance(node, ast.FunctionDef):
        return not node.name.startswith("_") and not _needed(node, 0)
    if not any(ast.unparse(base).endswith(BASES) for base in node.bases):
        return False
    made = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    return made is None or not _needed(made, 1)


def _needed(function: ast.FunctionDef, own: int) -> int:
    """Return how many arguments have no default, without the first ``own``."""
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - own - len(arguments.defaults)
    return positional + sum(default is None for default in arguments.kw_defaults)
