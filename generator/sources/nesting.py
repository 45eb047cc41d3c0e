"""Answers of models, nested as their code likes, and the tensors within."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from modelrepo.generator.errors import SourceError


def leaves(reference: str, answer: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return what an answer consists of, each with the keys that lead there: of mappings, dataclasses and sequences.

    A sequence of one is no level of its own. Raises SourceError for one that holds itself.
    """
    try:
        return list(walk(answer))
    except RecursionError as error:
        raise SourceError(
            f"{reference} answers a {type(answer).__name__} that holds itself, or is nested too deep",
            "Return the tensors alone",
        ) from error


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the same in turn, from code that exporters follow; RecursionError for what holds itself."""
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
