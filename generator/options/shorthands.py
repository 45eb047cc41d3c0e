"""Ensembles whose steps need not be written: members combined, a function that calls members, and a cascade."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError

# The keys that stand for steps, and those that go with each.
COMBINE, BLS, CASCADE = "combine", "bls", "cascade"
MEMBERS = "members"
PYTHON = "python:"
CASCADE_EXAMPLE = "Write cascade = { small = 'NAME', large = 'NAME', samples = 'FILE' }, or sure = 0.9 for samples"
OF_PYTHON = ("requirements", "timeout", "batched", "instances", "arguments", "files")
KEYS: dict[str, tuple[str, ...]] = {
    COMBINE: (MEMBERS, "weights", "of", "combined", *OF_PYTHON),
    BLS: (MEMBERS, *OF_PYTHON),
    CASCADE: ("timeout",),
}


def expanded(table: Mapping[str, Any], path: Path, where: str) -> Mapping[str, Any]:
    """Return a table of an ensemble with the steps that ``combine``, ``bls`` or ``cascade`` stands for.

    Other tables are returned as they are. OptionError for keys that contradict each other.
    """
    written = [key for key in KEYS if key in table]
    if not written:
        return table
    others = [key for key in ("steps", *KEYS) if key in table and key != written[0]]
    if others:
        raise OptionError(f"{path}: {written[0]} and {others[0]}{where}", "Write one of them: each makes steps")
    key = written[0]
    own = {name: table[name] for name in KEYS[key] if name in table}
    rest = {name: value for name, value in table.items() if name != key and name not in own}
    steps = MAKERS[key](table[key], own, f"{path}{where}")
    return {**rest, "steps": steps}


def step_name(member: str) -> str:
    """Return the name of the step of a member: steps have no dots in their names."""
    return member.partition("@")[0].replace(".", "_")


def parallel(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the steps whose answers are combined, of a table that ``expanded`` accepts."""
    return tuple(step_name(each) for each in table[MEMBERS]) if COMBINE in table else ()


def _combining(way: Any, own: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """Return a step for each member, and one that combines their answers."""
    members = _members(own, where)
    names = [step_name(each) for each in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise OptionError(f"{where}: {twice} is a member twice", "Name each model once")
    if not isinstance(way, str):
        raise OptionError(f"{where}: combine = {way!r}: expected text", "Write mean, weighted mean or vote")
    rest = {name: value for name, value in own.items() if name != MEMBERS}
    is_function = way.startswith(PYTHON)
    named = {} if is_function else {MEMBERS: names}
    last = {"name": COMBINE, "use": way if is_function else f"{COMBINE}:{way}", **named, **rest}
    return [*({"name": name, "use": each} for name, each in zip(names, members, strict=True)), last]


def _calling(function: Any, own: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """Return the step of a function that calls models."""
    _members(own, where)
    if not isinstance(function, str) or not function.startswith(PYTHON):
        raise OptionError(f"{where}: bls = {function!r} names no function", "Write bls = 'python:MODULE:FUNCTION'")
    return [{"name": BLS, "use": f"{BLS}:{function.removeprefix(PYTHON)}", **own}]


def _cascade(table: Any, own: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """Return the step of a cascade."""
    if not isinstance(table, Mapping):
        raise OptionError(f"{where}: cascade = {table!r}", CASCADE_EXAMPLE)
    return [{"name": CASCADE, "use": f"{CASCADE}:{table.get('small', '')}", **table, **own}]


def _members(own: Mapping[str, Any], where: str) -> list[str]:
    members = own.get(MEMBERS)
    if not isinstance(members, list) or not members or not all(isinstance(each, str) and each for each in members):
        raise OptionError(f"{where}: no members", "Name models of the repository: members = ['NAME', 'NAME@VERSION']")
    return members


MAKERS: dict[str, Callable[[Any, Mapping[str, Any], str], list[Mapping[str, Any]]]] = {
    COMBINE: _combining,
    BLS: _calling,
    CASCADE: _cascade,
}
