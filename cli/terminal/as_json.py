"""The flag `--json`: a command prints its result, or its error, as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
NAME = "--json"


class JsonFlag(click.Option):
    """`--json`, and the shape of the object that an error becomes."""

    def __init__(self, names: Sequence[str], *, empty: Mapping[str, Any], indent: int | None, **others: Any) -> None:
        super().__init__(names, is_flag=True, **others)
        self.empty = empty  # the keys of a result, without one
        self.indent = indent

    def error(self, message: str, code: int) -> str:
        """Return an error as JSON."""
        return json.dumps({**self.empty, "error": {"message": message, "exit_code": code}}, indent=self.indent)


def json_flag(
    what: str, *, empty: Mapping[str, Any] | None = None, indent: int | None = 2
) -> Callable[[Function], Function]:
    """Return a decorator that adds `--json` as ``as_json``."""
    return click.option(NAME, "as_json", cls=JsonFlag, help=what, empty=empty or {}, indent=indent)


def flag_given(command: click.Command, arguments: Sequence[str]) -> JsonFlag | None:
    """Return `--json` of the verb that a command line names; None if the flag is not there.

    It is found without parsing: an error may come before click has read the flag. A command line without a known verb
    has a flag too, so that a program always gets an object.
    """
    if NAME not in arguments:
        return None
    for argument in arguments:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), argument) or command
    own = (each for each in command.params if isinstance(each, JsonFlag))
    return next(own, JsonFlag([NAME], empty={}, indent=2))
