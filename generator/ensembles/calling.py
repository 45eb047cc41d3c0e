"""Steps that call models themselves (business logic scripting): a function of the user's, and a cascade."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.ensembles import published, python_step
from modelrepo.generator.ensembles.combine_step import specs
from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.ensembles.python_step import Ask
from modelrepo.generator.ensembles.step_runner import DTYPES, Callee
from modelrepo.generator.errors import OptionError
from modelrepo.generator.lint.declared import is_ensemble
from modelrepo.generator.repository.lifecycle.pins import CALLS
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.specs.tensors import Arrays


def member(step: Step, site: Site) -> Member:
    """Return the model of a function that calls other models: those that the step names as its members.

    Raises OptionError for a member that is named twice or has a type that numpy lacks, and for a call of a model that
    is not a member; other errors are those of ``published.of_step`` and ``python_step.member``.
    """
    if not step.settings["members"]:
        raise OptionError(f"step {step.name!r} has no members", "Name the models that the function calls in members")
    called = resolved(step.name, step.settings["members"], site)
    callees = tuple(callee(alias, each) for alias, each in called.items())
    own = replace(python_step.of_user(step, site), callees=callees)
    code, name = python_step.code_of(own, step, site), site.ensemble.own_model(step)
    refuse_undeclared(step, code, called)
    return with_calls(python_step.made(own, code, name, site.folder, asking(called.values())), called.values())


def resolved(step: str, members: Sequence[str], site: Site) -> dict[str, Member]:
    """Return the published models that a step calls, by the names that it calls them: NAME@VERSION is called NAME."""
    found: dict[str, Member] = {}
    for each in members:
        name, at, version = each.partition("@")
        if name in found:
            raise OptionError(f"step {step!r}: {name} is a member twice", "Name each model once")
        if at and not version.isdecimal():
            raise OptionError(f"step {step!r}: {version!r} is not a version of {name}", f"Write {name}@1")
        found[name] = published.of_step(step, name, int(version) if at else None, site.repository)
        if is_ensemble(found[name].config):
            raise OptionError(
                f"step {step!r}: {name} is an ensemble, whose versions share their steps: none of them can be pinned",
                f"Call the models that {name} consists of, or put its other steps before this one",
            )
    return found


def asking(members: Iterable[Member]) -> Ask:
    """Return what asks the references of models, by their names in the repository."""
    references = {each.name: each.reference for each in members}

    def ask(name: str, version: int, arrays: Arrays) -> Mapping[str, Any]:
        return references[name](arrays)

    return ask


def with_calls(made: Member, members: Iterable[Member]) -> Member:
    """Return the model of a step with the models that it calls, pinned in its configuration, too."""
    calls = tuple(members)
    pins = ",".join(f"{each.name}@{each.version}" for each in calls)
    made.config.parameters[CALLS].string_value = pins
    return replace(made, calls=calls)


def callee(alias: str, member: Member, outputs: Iterable[str] = ()) -> Callee:
    """Return a member as a function calls it, with those of its outputs, or all.

    Raises OptionError for BF16, which numpy lacks.
    """
    config = member.config
    batched, wanted = config.max_batch_size > 0, tuple(outputs)
    taken, given = specs(config.input, batched=batched), specs(config.output, batched=batched)
    given = tuple(spec for spec in given if not wanted or spec.name in wanted)
    strange = next((spec for spec in (*taken, *given) if spec.dtype not in DTYPES), None)
    if strange:
        raise OptionError(
            f"{alias} ({member.name}) has {strange.dtype} {strange}, which no Python step can ask for",
            "Generate it with another precision",
        )
    types = [{spec.name: spec.dtype for spec in each} for each in (taken, given)]
    return Callee(alias, member.name, member.version, config.max_batch_size, *types)


def refuse_undeclared(step: Step, code: Mapping[str, Path], members: Iterable[str]) -> None:
    """Raise OptionError if a function in the files ``code`` plainly calls a model that is not among its members.

    Only names that are written in the function itself are seen; others are refused when they are called.
    """
    module, _, name = step.rest.partition(":")
    known, place = tuple(members), module.replace(".", "/")
    file = code.get(f"{place}.py") or code.get(f"{place}/__init__.py")
    for called, line in _called(file, name) if file else ():
        if called not in known:
            raise OptionError(
                f"step {step.name!r}: {module}:{line} calls {called!r}, which is not one of its members: "
                f"{', '.join(known)}",
                f'Add "{called}" to members, or call another',
            )


def _called(file: Path, name: str) -> Iterator[tuple[str, int]]:
    """Yield the names that a function of a file gives its first argument when it calls it, with their lines."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the import says what is wrong
        return
    function = next((each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name), None)
    arguments = [*function.args.posonlyargs, *function.args.args] if function else []
    if function is None or not arguments:
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == arguments[0].arg:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def named(step: Step) -> tuple[str, ...]:
    """Return the models of the repository that a step calls itself, as its table names them."""
    if step.scheme == "bls":
        return tuple(step.settings["members"])
    if step.scheme == "cascade":
        return tuple(filter(None, (step.settings[key] for key in ("small", "large"))))
    return ()
