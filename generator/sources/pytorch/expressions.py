"""The sizes and guards of a program of torch.export: text in its file that torch evaluates as Python."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

# Their keys in the file's JSON, by torch/_export/serde/schema.py: a sympy expression, a list of conditions.
EXPRESSION, GUARDS = "expr_str", "guards_code"
# The classes that sizes are computed with: those of sympy, and of torch's torch/utils/_sympy/functions.py.
CLASSES = {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Abs", "Max", "Min", "floor", "ceiling"),
    *("And", "Or", "Not", "Equality", "Unequality", "Eq", "Ne", "Lt", "Le", "Gt", "Ge"),
    *("GreaterThan", "LessThan", "StrictGreaterThan", "StrictLessThan"),
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv"),
    *("IntTrueDiv", "FloatTrueDiv", "LShift", "RShift", "IsNonOverlappingAndDenseIndicator", "TruncToFloat"),
    *("TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "FloatPow", "PowByNatural", "Identity"),
}
FUNCTIONS = {*CLASSES, "max", "min", "abs", "len", "cast_symbool_to_symint_guardless"}
# The methods of an input in a guard, such as L['x'].size()[0].
METHODS = {"size", "stride", "dim", "numel", "storage_offset", "item"}
MATHS = {
    "torch": {"sym_max", "sym_min", "sym_int", "sym_float", "sym_not", "sym_ite"},
    "math": {"floor", "ceil", "trunc", "sqrt", "isnan", "inf"},
}
PLAIN = (
    *(ast.Expression, ast.BoolOp, ast.boolop, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop),
    *(ast.Compare, ast.cmpop, ast.IfExp, ast.Tuple, ast.keyword, ast.Load),
)
NAME = re.compile(r"\w[\w. ]*")


def are_plain(path: Path) -> bool:
    """Whether the sizes and guards of the program at ``path`` only compute with sizes."""
    with ZipFile(path) as archive:
        return all(
            _is_plain(text)
            for member in archive.namelist()
            if member.endswith(".json")
            for text in _texts(json.loads(archive.read(member)))
        )


def _texts(value: Any, key: str = "") -> Iterator[str]:
    """Yield the texts of a JSON document that torch evaluates."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, str) and key in (EXPRESSION, GUARDS):
        yield value


def _is_plain(text: str) -> bool:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_plain_node, ast.walk(tree)))


def _is_plain_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or NAME.fullmatch(node.value) is not None
    if isinstance(node, ast.Name):
        return not node.id.startswith("_")
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant)
    if isinstance(node, ast.Attribute):
        return node.attr in METHODS or (isinstance(node.value, ast.Name) and node.attr in MATHS.get(node.value.id, ()))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) or (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS)
    return isinstance(node, PLAIN)
