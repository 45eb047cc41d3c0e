"""The tables `[ensembles.NAME]` of modelrepo.toml: their keys, how each is read, and what it means."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.options import parsers, shorthands
from modelrepo.generator.options.names import check_name
from modelrepo.generator.specs.ensembles import STEP_SECONDS, EnsembleSpec, Step
from modelrepo.generator.specs.written import integer, items, text

EXAMPLE = "Write a [[ensembles.NAME.steps]] table with name and use for each step"
LONGEST_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Key:
    """A key of a table."""

    help: str
    parse: Callable[[Any], Any]  # ValueError says what was expected
    default: Any = None
    path: bool = False  # a path, relative to the file


def read_map(value: Any) -> dict[str, str]:
    """Read a table of names by names."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a table such as { input = 'STEP.OUTPUT' }")
    return {text(key): text(each) for key, each in value.items()}


def read_outputs(value: Any) -> dict[str, str]:
    """Read a table of tensors by the names that clients know, or a list of tensors that keep their names."""
    if isinstance(value, Mapping):
        return read_map(value)
    names = [text(each) for each in items(value)]
    return {each.rpartition(".")[2]: each for each in names}


def read_seconds(value: Any) -> float:
    """Read a number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_SECONDS:
        raise ValueError(f"expected seconds above 0, at most {LONGEST_SECONDS}")
    return float(value)


def read_texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts; it may be empty."""
    return tuple(text(each) for each in (items(value) if value != [] else []))


def read_arguments(value: Any) -> dict[str, Any]:
    """Read a table of values by the names of arguments."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a table such as { threshold = 0.5 }")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError("expected texts, numbers, true or false, and lists and tables of them") from error
    return dict(value)


def read_files(value: Any) -> tuple[Path, ...]:
    """Read a list of files in the current folder, as relative paths."""
    files = tuple(Path(each) for each in read_texts(value))
    for each in files:
        if each.is_absolute() or ".." in each.parts or not each.is_file():
            raise ValueError(f"expected files in the current folder, by relative paths: {each} is none")
    return files


def read_weights(value: Any) -> tuple[float, ...]:
    """Read a list of finite numbers."""
    given = items(value)
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) and isfinite(each) for each in given):
        raise ValueError("expected a list of numbers")
    return tuple(map(float, given))


def read_share(value: Any) -> float:
    """Read a number in 0..1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(value)


def _read_path(value: Any) -> Path:
    return Path(text(value))


ENSEMBLE_KEYS: dict[str, Key] = {
    "steps": Key("The steps, a [[ensembles.NAME.steps]] table each, in any order.", list),
    "outputs": Key(
        "What clients receive: tensors, or a table { NAME = 'STEP.OUTPUT' }. Default: every output that no step takes.",
        read_outputs,
        {},
    ),
    "max_batch_size": Key("Largest batch. Default: the smallest of its models.", integer(0)),
    "combine": Key(
        "How the answers of the members, which all take the same inputs, become one: mean, weighted mean, vote, or "
        "python:MODULE:FUNCTION. It stands for the steps.",
        text,
    ),
    "bls": Key("A function that calls the members itself: python:MODULE:FUNCTION. It stands for the steps.", text),
    "cascade": Key("A small model first, a large one where it is unsure: a table. It stands for the steps.", dict),
    "members": Key("The models of combine and of bls: NAME, or NAME@VERSION.", read_texts),
    "samples": Key("Your inputs for the live check: as `samples` of a model.", _read_path, path=True),
}
STEP_KEYS: dict[str, Key] = {
    "name": Key("Name of the step. Default: that of its model.", text),
    "use": Key(
        "The model: a published one as NAME or NAME@VERSION (default: the newest that is served), onnx:FILE, "
        "python:MODULE:FUNCTION, builtin:decode, which makes pixels of a picture's file, or tokenizer:FOLDER, which "
        "makes tokens of texts for the step that takes them.",
        text,
    ),
    "inputs": Key(
        "Where inputs of the model come from: { INPUT = 'STEP.OUTPUT' }, or the name of an input of the ensemble. "
        "Default: found by name, or by type and shape if only one output fits.",
        read_map,
        {},
    ),
    "outputs": Key("Names for outputs of the model: { OUTPUT = 'NAME' }. Default: STEP.OUTPUT.", read_map, {}),
    "requirements": Key("Packages that a Python step needs, as pip reads them.", read_texts, ()),
    "timeout": Key("Seconds that the step may take for one request.", read_seconds, STEP_SECONDS),
}
# Keys of steps of one scheme only.
_MODEL_KEYS = {
    "max_batch_size": Key("Largest batch of its model. Default: the ensemble's, or 16.", integer(0)),
    "instances": Key("Copies of its model, a process each.", integer(1)),
    "arguments": Key("Values for arguments of the function that are no inputs: { NAME = VALUE }.", read_arguments),
}
_PYTHON_KEYS = {
    "batched": Key(
        "Whether the function takes whole batches; else it is called for each sample.", parsers.read_boolean
    ),
    "files": Key("Files that the function opens beside its module, such as labels.txt.", read_files),
    **_MODEL_KEYS,
}
_MEMBERS = Key("The models: NAME, or NAME@VERSION.", read_texts, ())
_COMBINE_KEYS = {
    "members": Key("The steps whose answers are combined.", read_texts, ()),
    "weights": Key("A weight for each member, for a weighted mean; their sum may be any.", read_weights, ()),
    "of": Key(
        "What is averaged: answers, as they are, or softmax, the probabilities that it makes of scores.",
        parsers.one_of("answers", "softmax"),
        "answers",
    ),
    "combined": Key("The outputs that are combined. Default: all that are floats.", read_texts, ()),
}
_CASCADE_KEYS = {
    "small": Key("The model that answers first.", text),
    "large": Key("The model that answers where the small one is unsure.", text),
    "sure": Key("The largest probability from which on the small model's answer stands, 0 to 1.", read_share),
    "samples": Key("Labelled samples that choose this threshold, and judge it.", _read_path, path=True),
    "label_column": Key("The array of the samples that has the labels.", text, ""),
    "keep_accuracy": Key(
        "The share of the large model's accuracy that the threshold keeps. Default: 0.99.", read_share
    ),
    "scores": Key("The output with a score of each class. Default: the only one that may be.", text, ""),
    "softmax": Key(
        "Whether these are scores, of which softmax makes probabilities. Default: found by asking the small model.",
        parsers.read_boolean,
    ),
}
SCHEME_KEYS: dict[str, dict[str, Key]] = {
    "": {},
    "builtin": _MODEL_KEYS,
    "onnx": {},
    "python": _PYTHON_KEYS,
    "combine": _COMBINE_KEYS,
    "bls": {**_PYTHON_KEYS, "members": _MEMBERS},
    "cascade": _CASCADE_KEYS,
    "tokenizer": {},
}


def read_ensemble(name: str, table: Mapping[str, Any], path: Path) -> EnsembleSpec:
    """Read a table `[ensembles.NAME]` of a file; OptionError says where it is wrong and what was expected."""
    where = f" in [ensembles.{name}]"
    check_name(name)
    written, table = table, shorthands.expanded(table, path, where)
    values = _read(table, ENSEMBLE_KEYS, path, where)
    values = {key: value for key, value in values.items() if key not in (*shorthands.KEYS, shorthands.MEMBERS)}
    steps = table.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(each, Mapping) for each in steps):
        raise OptionError(f"{path}: no steps{where}", EXAMPLE)
    read = tuple(_step(each, path, f" in step {number} of [ensembles.{name}]") for number, each in enumerate(steps, 1))
    names = [step.name for step in read]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice:
        raise OptionError(f"{path}: two steps are named {twice!r}{where}", "Give each step a name of its own")
    return EnsembleSpec(name, **{**values, "steps": read, "parallel": shorthands.parallel(written)})


def _step(table: Mapping[str, Any], path: Path, where: str) -> Step:
    use = table.get("use")
    if not isinstance(use, str) or not use:
        raise OptionError(
            f"{path}: no use{where}", "Name a model of the repository, onnx:FILE or python:MODULE:FUNCTION"
        )
    scheme = use.partition(":")[0] if ":" in use else ""
    if scheme not in SCHEME_KEYS:
        raise OptionError(
            f"{path}: unknown scheme {scheme!r} of use{where}", nearest(scheme, filter(None, SCHEME_KEYS))
        )
    own = SCHEME_KEYS[scheme]
    values = _read(table, {**STEP_KEYS, **own}, path, where)
    settings = {key: values.pop(key) for key in own}
    if scheme in ("onnx", "tokenizer"):
        values["use"] = f"{scheme}:{path.parent / Path(use.partition(':')[2]).expanduser()}"
    values["name"] = check_step_name(values["name"] or _default_name(use), f"{path}{where}")
    return Step(**values, settings=settings)


def _default_name(use: str) -> str:
    """Return a published model's name, a file's without its ending, or a function's."""
    last = use.rpartition(":")[2]
    return Path(last).stem if use.startswith("onnx:") else last.partition("@")[0]


def check_step_name(name: str, where: str) -> str:
    """Return a step's name if it can be part of a model's name and has no dot; else raise OptionError."""
    if "." in name:
        raise OptionError(
            f"{where}: the step's name {name!r} has a dot", "STEP.OUTPUT names an output: write name = '…'"
        )
    return check_name(name)


def _read(table: Mapping[str, Any], known: Mapping[str, Key], path: Path, where: str) -> dict[str, Any]:
    values = {name: key.default for name, key in known.items() if name != "steps"}
    for name, value in table.items():
        if name not in known:
            raise OptionError(f"{path}: unknown key {name!r}{where}", nearest(name, known, count=1))
        try:
            read = known[name].parse(value)
            if known[name].path and not (path.parent / read.expanduser()).exists():
                raise ValueError("no such file or folder")
        except ValueError as error:
            raise OptionError(f"{path}{where}: {name} = {value!r}: {error}") from error
        values[name] = path.parent / read.expanduser() if known[name].path else read
    values.pop("steps", None)
    return values
