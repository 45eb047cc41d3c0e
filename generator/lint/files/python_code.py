"""A model.py: whether it has the class that Triton's stub asks it for. It is parsed, and never run."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.lint.regular import opened

CLASS, EXECUTE = "TritonPythonModel", "execute"
# Of a longer file nothing is known: its tree takes a hundred times the memory.
MOST_BYTES = 4 << 20
# With one of these, a name can come about without being written.
DYNAMIC = ("globals", "exec", "eval", "setattr", "__getattr__", "vars", "locals")


@dataclass(frozen=True)
class PythonCode:
    """What is in a file of Python."""

    line: int = 0  # of the class, or of what can't be parsed
    has_class: bool = True  # as far as can be known
    has_execute: bool = True  # as far as can be known
    fault: str = ""  # why it can't be parsed


def read(path: Path) -> PythonCode:
    """Parse a file of Python. OSError if it can't be opened."""
    with opened(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES and b"\0" not in content:
        return PythonCode()
    try:
        return _of(ast.parse(content))
    except SyntaxError as error:
        return PythonCode(error.lineno or 0, fault=error.msg)
    except RecursionError:  # of our walk, or of the library's: Python itself goes deeper
        return PythonCode()
    except (ValueError, MemoryError) as error:  # NUL bytes, or nested too deeply
        return PythonCode(fault=str(error) or "it is nested too deeply")


def _of(tree: ast.Module) -> PythonCode:
    if any(isinstance(node, ast.Name) and node.id in DYNAMIC for node in ast.walk(tree)):
        return PythonCode()
    bound = list(_bound(tree.body))
    named = [node for name, node in bound if name == CLASS]
    if not named:
        return PythonCode(has_class=any(name == "*" for name, _ in bound))
    last = named[-1]
    if not isinstance(last, ast.ClassDef) or last.bases or last.decorator_list or last.keywords:
        return PythonCode(last.lineno)
    return PythonCode(last.lineno, has_execute=any(name in (EXECUTE, "*") for name, _ in _bound(last.body)))


def _bound(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that statements bind, those in if, try, with, for and match among them."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name, statement
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (((alias.asname or alias.name).partition(".")[0], statement) for alias in statement.names)
        stored = (node for node in _without_scopes(statement) if isinstance(node, ast.Name))
        yield from ((node.id, statement) for node in stored if isinstance(node.ctx, ast.Store))
        yield from _bound(_nested(statement))


def _nested(statement: ast.stmt) -> list[ast.stmt]:
    """Return the statements directly within a compound one."""
    inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
    for part in ast.iter_child_nodes(statement):
        if isinstance(part, ast.ExceptHandler | ast.match_case):
            inner += part.body
    return inner


def _without_scopes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, without statements within it and without functions' own names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr | ast.withitem) and not isinstance(child, ast.Lambda):
            yield child
            yield from _without_scopes(child)
