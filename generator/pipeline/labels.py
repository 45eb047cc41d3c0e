"""Names of classes: a user's file of them, and whether they fit the answers of a model."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources.source import path_of
from modelrepo.generator.specs.labels import in_order
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Signature

WAYS = "Write one name a line, a JSON list of names, or a JSON object with a name for each number from 0 on"
# Files that often name the classes of the model beside them.
CONFIG = "config.json"
FILES = ("labels.txt", CONFIG, "classes.txt", "class_names.txt", "labels.json", "id2label.json")
# The key of a transformers configuration that has the names of classes by their numbers.
BY_NUMBER = "id2label"


def named(source: SourceModel, signature: Signature, options: Options) -> SourceModel:
    """Return a source with the names of its classes that the user gives instead of its own, if there are any.

    A note says that the source's own names fit no output, or that a file beside it is not read; OptionError if the
    user's names don't fit.
    """
    path = options.labels
    labels = read(path) if path else source.labels
    listed = None if labels else _beside(options)
    if listed:
        note = f"{listed} is not read: if it names the classes, --labels {listed} publishes them"
        return replace(source, notes=(*source.notes, note))
    if not labels or any(spec.scores(len(labels)) for spec in signature.outputs):
        return replace(source, labels=labels)
    outputs = ", ".join(map(str, signature.outputs))
    if path:
        raise OptionError(
            f"{path} names {len(labels)} classes, and no output has {len(labels)} scores a sample: {outputs}",
            "Give a name for each score, in their order",
        )
    note = f"the names of its {len(labels)} classes are not published: no output has a score for each ({outputs})"
    return replace(source, notes=(*source.notes, note))


def _beside(options: Options) -> Path | None:
    """Return a file beside the user's model that seems to name classes; None if there is none."""
    source, name = sources.find(options.model)
    if not source.names_file(name) or source is sources.SOURCES["hf"]:  # a Hugging Face folder has its own rules
        return None
    path = path_of(name)
    folder = path if path.is_dir() else path.parent
    places = (folder, *([folder.parent] if folder.name.isdecimal() else []))  # or beside a version of Triton's
    return next((file for place in places for each in FILES if _names_classes(file := place / each)), None)


def _names_classes(path: Path) -> bool:
    """Whether a file exists; a configuration must have the names of classes."""
    if not path.is_file():
        return False
    return path.name != CONFIG or f'"{BY_NUMBER}"'.encode() in path.read_bytes()


def read(path: Path) -> tuple[str, ...]:
    """Return the names of classes in a file, each as one line; OptionError for a file that holds something else."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not text in UTF-8", WAYS) from error
    return _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else _from_lines(text, path)


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    """Return a name a line, without the number of the class if every line begins with it.

    Blank lines may follow, but not come between: a class would get another's name.
    """
    lines = [" ".join(line.split()) for line in text.rstrip().splitlines()]
    if not lines or "" in lines:
        what = f"line {lines.index('') + 1} of {path} is blank, and names no class" if lines else f"{path} is empty"
        raise OptionError(what, WAYS)
    numbered = [re.fullmatch(rf"{number}[\s:,]+(.+)", line) for number, line in enumerate(lines)]
    if len(lines) > 1 and all(numbered):
        return tuple(match[1] for match in numbered if match)
    return tuple(lines)


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise OptionError(f"{path} is not valid JSON: {error}", WAYS) from error
    names = in_order(found.get(BY_NUMBER, found) if isinstance(found, Mapping) else found)
    if not names:
        raise OptionError(f"{path} does not name every class", WAYS)
    return names
