"""Operators that behave differently in training: a graph recorded in that mode keeps them."""

from collections.abc import Iterable, Mapping
from typing import Any

from modelrepo.generator.errors import SourceError


def refuse(reference: str, calls: Iterable[tuple[str, Mapping[str, Any]]], remedy: str) -> None:
    """Raise SourceError if one of a graph's calls is in training mode; ``remedy`` is the hint.

    A call is the name of an operator, such as ``dropout``, and its arguments by their names in the operator's schema,
    without those of unknown value.
    """
    for name, arguments in calls:
        if _trains(arguments):
            raise SourceError(f"{reference} was saved in training mode: its {name} is for training", remedy)


def _trains(arguments: Mapping[str, Any]) -> bool:
    """Whether a call drops values out, or normalises with the batch although it has statistics of training."""
    share = next((arguments[key] for key in ("p", "dropout", "dropout_p") if key in arguments), None)
    if share is not None:
        return bool(share) and bool(arguments.get("train", arguments.get("training", "dropout_p" in arguments)))
    if "running_mean" in arguments:
        return bool(arguments.get("training")) and arguments["running_mean"] is not None
    return bool(arguments.get("training"))
