"""Names of dimensions that are expressions of others, such as ``past_sequence_length + sequence_length``.

Optimum writes such names, and torch.export those of sympy: ``s0 + s1``, ``2*s0``, ``(s0 - 1)//2 + 1``, ``floor(s0/2)``.
"""

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cache

# By these a size is raised, until an expression of it is large enough.
STEPS = (*range(1, 33), *(1 << power for power in range(6, 16)))
OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda one, other: one + other,
    ast.Sub: lambda one, other: one - other,
    ast.Mult: lambda one, other: one * other,
    ast.Div: lambda one, other: one / other,
    ast.FloorDiv: lambda one, other: Fraction(one // other),
    ast.Mod: lambda one, other: one % other,
}
# As sympy and torch.utils._sympy.functions call them.
FUNCTIONS: Mapping[str, Callable[..., Fraction]] = {
    **dict.fromkeys(("floor", "FloorToInt"), lambda value: Fraction(math.floor(value))),
    **dict.fromkeys(("ceiling", "ceil", "CeilToInt"), lambda value: Fraction(math.ceil(value))),
    **dict.fromkeys(("Max", "max"), max),
    **dict.fromkeys(("Min", "min"), min),
    **dict.fromkeys(("Mod", "PythonMod"), lambda one, other: one % other),
    **dict.fromkeys(("FloorDiv", "CleanDiv"), lambda one, other: Fraction(one // other)),
    "IntTrueDiv": lambda one, other: one / other,
}


def own(dims: Iterable[str]) -> list[str]:
    """Return the dimensions that have a size of their own, each once; the others are expressions of these."""
    names = list(dict.fromkeys(dims))
    plain = {name for name in names if terms(name) in ((), (name,))}
    return [name for name in names if name in plain or not plain.issuperset(terms(name))]


def terms(name: str) -> tuple[str, ...]:
    """Return the names that an expression computes with; none for a name that is not an expression."""
    tree = _parsed(name)
    if tree is None:
        return ()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called)
    return tuple(dict.fromkeys(found))


def size_of(name: str, sizes: Mapping[str, int]) -> int:
    """Return the size of a dimension: its own, or that of the expression; KeyError for one that does not follow."""
    if name in sizes:
        return sizes[name]
    tree, names = _parsed(name), terms(name)
    if tree is None or not names or not sizes.keys() >= set(names):
        raise KeyError(name)
    try:
        return math.floor(_value(tree.body, sizes))
    except ZeroDivisionError:
        return 0


def settled(sizes: Mapping[str, int], dims: Iterable[str], least: int = 1) -> dict[str, int]:
    """Return ``sizes`` with some raised, so that none of the expressions among ``dims`` is below ``least``."""
    raised = dict(sizes)
    for name in dict.fromkeys(name for name in dims if name not in sizes):
        if size_of(name, raised) < least:
            tried = ({**raised, term: raised[term] + step} for step in STEPS for term in terms(name))
            raised = next((each for each in tried if size_of(name, each) >= least), raised)
    return raised


@cache
def _parsed(name: str) -> ast.Expression | None:
    try:
        tree = ast.parse(name, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if _is_known(tree.body) else None


def _is_known(node: ast.expr) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Constant():
            return type(node.value) is int
        case ast.UnaryOp(op=ast.USub()):
            return _is_known(node.operand)
        case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=int())):
            return _is_known(node.left)
        case ast.BinOp():
            return type(node.op) in OPERATORS and _is_known(node.left) and _is_known(node.right)
        case ast.Call(func=ast.Name(id=function), keywords=[]):
            return function in FUNCTIONS and bool(node.args) and all(map(_is_known, node.args))
    return False


def _value(node: ast.expr, sizes: Mapping[str, int]) -> Fraction:
    match node:
        case ast.Name():
            return Fraction(sizes[node.id])
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp():
            return -_value(node.operand, sizes)
        case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=int(power))):
            return _value(node.left, sizes) ** power
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
        case ast.Call(func=ast.Name(id=function)):
            return FUNCTIONS[function](*(_value(each, sizes) for each in node.args))
    raise KeyError(ast.unparse(node))
