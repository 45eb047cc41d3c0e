"""The parameters of a model's forward, and the inputs and calls that follow from the user's examples of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.sources.pytorch import Call, positional
from modelrepo.generator.specs.tensors import InputShape, TensorSpec, unknown_domain

BATCH = "batch"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model's forward; one that is not ``required`` has a default."""

    name: str
    required: bool = True
    by_position: bool = False  # can't be passed by name
    by_name: bool = False  # can't be passed by position


@dataclass(frozen=True)
class Forward:
    """The parameters of a model; ``variadic`` takes any number (``*args``), ``any_name`` any name (``**kwargs``)."""

    parameters: tuple[Parameter, ...]
    variadic: bool = False
    any_name: bool = False

    def __str__(self) -> str:
        names = [each.name if each.required else f"{each.name} (optional)" for each in self.parameters]
        return ", ".join((*names, *(["*args"] if self.variadic else []), *(["**kwargs"] if self.any_name else [])))

    @property
    def example(self) -> str:
        """The flag that gives an example of each required input."""
        names = [each.name for each in self.parameters if each.required]
        if not names and self.parameters and not self.variadic:
            names = [self.parameters[0].name]
        return f"--input-shape {','.join(f'{name}={_likely(name)}' for name in names or ['input'])}"


def _likely(name: str) -> str:
    """Return a likely example for an input of this name: indices in a vocabulary, or an image."""
    return "1x128:int64" if re.search("ids?$|mask|token", name) else "1x3x224x224:float32"


def forward_of(function: Callable[..., Any]) -> Forward:
    """Return the parameters of a Python function; SourceError if they can't be read."""
    import inspect

    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise SourceError(f"can't read the parameters of {function!r}", "Wrap it in a function of its own") from error
    named = [each for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return Forward(
        tuple(
            Parameter(
                each.name,
                each.default is each.empty,
                by_position=each.kind is each.POSITIONAL_ONLY,
                by_name=each.kind is each.KEYWORD_ONLY,
            )
            for each in named
        ),
        any(each.kind is each.VAR_POSITIONAL for each in found),
        any(each.kind is each.VAR_KEYWORD for each in found),
    )


def inputs_of(reference: str, forward: Forward, shapes: Sequence[InputShape]) -> tuple[TensorSpec, ...]:
    """Return an input for each example of the user, in order, float32 unless the example has another type.

    Examples named as parameters stand for these, others for the parameters in order. Those named ``xs.0`` and ``xs.1``
    are the tensors of a list, and ``xs.a`` is one of a dict. Raises SourceError if they do not fit ``forward``; the
    hint is a flag that fits.
    """
    if not shapes:
        raise SourceError(
            f"nothing describes the inputs of {reference}; it takes {forward}",
            f"Give an example of each: {forward.example}",
        )
    named = _named(forward, shapes)
    given = {_parameter(each.name, forward) for each in named}
    unknown = [name for name in given if name not in _names(forward)]
    if unknown and not forward.any_name and (len(unknown) < len(given) or not _places(forward, len(named))):
        raise SourceError(
            f"{reference} takes no input {min(unknown)!r}; it takes {forward}", f"Such as {forward.example}"
        )
    covered = {*given} if not unknown or forward.any_name else {*_names(forward)[: len(named)]}
    lacking = [each.name for each in forward.parameters if each.required and each.name not in covered]
    if lacking:
        raise SourceError(
            f"nothing describes {lacking[0]!r} of {reference}; it takes {forward}",
            f"Give an example of each: {forward.example}",
        )
    return tuple(_spec(each) for each in named)


def call_with(forward: Forward, names: Sequence[str]) -> Call:
    """Return the function that turns tensors, in the order of these inputs, into the arguments of ``forward``."""
    known = _names(forward)
    if any(_parameter(name, forward) != name for name in names):
        return _call_nested(forward, names)
    by_name = forward.any_name or set(names) <= {*known}
    only_named = {each.name for each in forward.parameters if each.by_name}
    if not by_name or (list(names) == known[: len(names)] and not only_named & set(names)):
        return positional
    leading = [each.name for each in forward.parameters if each.by_position]

    def call(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = dict(zip(names, tensors, strict=True))
        return tuple(given.pop(name) for name in leading if name in given), given

    return call


def _parameter(name: str, forward: Forward) -> str:
    """Return the parameter that an input is a part of: ``xs`` for ``xs.0``; its own name for any other."""
    head, dot, _ = name.partition(".")
    return head if dot and head in _names(forward) and name not in _names(forward) else name


def _call_nested(forward: Forward, names: Sequence[str]) -> Call:
    leading = [each.name for each in forward.parameters if each.by_position]

    def call(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = _nested(list(zip([name.split(".") for name in names], tensors, strict=True)))
        return tuple(given.pop(name) for name in leading if name in given), given

    return call


def _nested(parts: Sequence[tuple[Sequence[str], Any]]) -> Any:
    """Return tensors by their paths as dicts within dicts, and as lists where the keys count from 0."""
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1]
    heads = dict.fromkeys(path[0] for path, _ in parts)
    within = {head: _nested([(path[1:], tensor) for path, tensor in parts if path[0] == head]) for head in heads}
    return list(within.values()) if list(heads) == [str(number) for number in range(len(heads))] else within


def opened(
    inputs: tuple[TensorSpec, ...], dynamic: Mapping[str, Mapping[int, str]]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs with the dimensions that the user makes dynamic, or with a guessed batch.

    A leading size that all inputs share is guessed to be a batch. The second value are the inputs with all sizes
    fixed; it is empty if nothing is guessed.
    """
    if dynamic:
        return with_dynamic(inputs, dynamic), ()
    if not all(spec.shape for spec in inputs) or len({spec.shape[0] for spec in inputs}) != 1:
        return inputs, ()
    return tuple(replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in inputs), inputs


def _names(forward: Forward) -> list[str]:
    return [each.name for each in forward.parameters]


def _places(forward: Forward, count: int) -> bool:
    """Whether a number of inputs can be passed by position."""
    return forward.variadic or count <= len(forward.parameters)


def _named(forward: Forward, shapes: Sequence[InputShape]) -> list[InputShape]:
    """Return the examples with names: one without a name gets that of the first parameter."""
    first = next(iter(_names(forward)), "input")
    return [each if each.name else replace(each, name=first) for each in shapes]


def _spec(example: InputShape) -> TensorSpec:
    dtype = example.dtype or "float32"
    return TensorSpec(example.name, dtype, example.shape, unknown_domain(dtype))
