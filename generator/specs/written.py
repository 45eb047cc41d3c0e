"""Readers of values that users write: text, numbers, lists, and examples of inputs.

They raise ValueError with what was expected.
"""

from collections.abc import Callable, Mapping
from typing import Any

from modelrepo.generator.specs.tensors import DTYPES, InputShape


def text(value: Any) -> str:
    """Read non-empty text."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected text")
    return value


def integer(minimum: int, maximum: int = 2**31 - 1) -> Callable[[Any], int]:
    """Return a function that reads a whole number within bounds, both inclusive."""

    def parse(value: Any) -> int:
        try:
            if isinstance(value, (bool, float)):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise ValueError("expected a whole number") from None
        if number < minimum:
            raise ValueError(f"expected at least {minimum}")
        if number > maximum:
            raise ValueError(f"expected at most {maximum}")
        return number

    return parse


def items(value: Any, separator: str = ",") -> list[Any]:
    """Read a list, or text with items between separators."""
    given = value.split(separator) if isinstance(value, str) else value
    if not isinstance(given, list) or not given or "" in given:
        raise ValueError("expected a list without gaps")
    return [item.strip() if isinstance(item, str) else item for item in given]


def input_shapes(value: Any) -> tuple[InputShape, ...]:
    """Read ``3x224x224``, or ``ids=1x128:int64,mask=1x128:int64``; a scalar is ``name=scalar:float32``.

    Also reads a list of sizes, of such texts, or of dictionaries as ``dataclasses.asdict`` makes them of InputShape.
    """
    given = items(value) if value != [] else []
    if given and all(isinstance(item, int) for item in given):
        return (InputShape("", _shape(given)),)
    shapes = tuple(map(_input_shape, given))
    names = [each.name for each in shapes]
    if len(set(names)) < len(names):
        raise ValueError("expected each input once, as NAME=SHAPE:TYPE")
    return shapes


def _input_shape(item: Any) -> InputShape:
    if isinstance(item, Mapping):
        return InputShape(item["name"], tuple(item["shape"]), item["dtype"])
    name, equals, rest = text(item).rpartition("=")
    sizes, colon, dtype = rest.partition(":")
    dtype = {"string": "object"}.get(dtype, dtype)
    if (equals and not name) or (colon and dtype not in DTYPES):
        known = ", ".join("string" if each == "object" else each for each in DTYPES)
        raise ValueError(f"expected NAME=1x3x224x224:TYPE with a type of {known}")
    return InputShape(name, () if sizes == "scalar" else _shape(sizes), dtype)


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return tuple(map(integer(1), items(value, "x")))
    except ValueError:
        raise ValueError("expected sizes such as 3x224x224, or NAME=1x3x224x224:float32 for each input") from None
