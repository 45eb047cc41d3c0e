"""The flag `--json`: a command prints its result, or its error, as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


class JsonFlag(click.Option):
    """`--json`, and the shape of the object that an error becomes."""

    def __init__(self, names: Sequence[str], *, empty: Mapping[str, Any], indent: int | None, **others: Any) -> None:
        super().__init__(names, is_flag=True, is_eager=True, callback=_note, **others)
        self.empty = empty  # the keys of a result, without one
        self.indent = indent

    def error(self, message: str, code: int) -> str:
        """Return an error as JSON."""
        return json.dumps({**self.empty, "error": {"message": message, "exit_code": code}}, indent=self.indent)


@dataclass
class Invocation:
    """A command line, and the flag `--json` of its command once click has read it."""

    arguments: list[str]
    flag: JsonFlag | None = None

    def flag_after(self, error: click.ClickException) -> JsonFlag | None:
        """Return the flag if it was given; click may have refused the command line before it came to the flag."""
        context = error.ctx if isinstance(error, click.UsageError) else None
        if self.flag or context is None or "--json" not in self.arguments:
            return self.flag
        return next((each for each in context.command.params if isinstance(each, JsonFlag)), None)


def json_flag(
    what: str, *, empty: Mapping[str, Any] | None = None, indent: int | None = 2
) -> Callable[[Function], Function]:
    """Return a decorator that adds `--json` as ``as_json``."""
    return click.option("--json", "as_json", cls=JsonFlag, help=what, empty=empty or {}, indent=indent)


def _note(context: click.Context, flag: click.Parameter, given: bool) -> bool:
    if given and isinstance(context.obj, Invocation) and isinstance(flag, JsonFlag):
        context.obj.flag = flag
    return given
