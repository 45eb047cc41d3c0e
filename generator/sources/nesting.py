"""Nested outputs of models, and the tensors within."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from modelrepo.generator.errors import SourceError


def leaves(reference: str, answer: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the leaves of an answer, each with the keys of the mappings, dataclasses and sequences that lead to it.

    A sequence of one element adds no key. Raises SourceError for an answer that contains itself.
    """
    try:
        return list(walk(answer))
    except RecursionError as error:
        raise SourceError(
            f"{reference} returns a {type(answer).__name__} that contains itself, or is nested too deep",
            "Return the tensors alone",
        ) from error


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the leaves as ``leaves`` does, in code that exporters can follow; RecursionError if it contains itself."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif dataclasses.is_dataclass(value):
        items = [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
        if len(items) == 1:
            yield from walk(items[0][1], path)
            return
    else:
        yield path, value
        return
    for key, each in items:
        yield from walk(each, (*path, key))
