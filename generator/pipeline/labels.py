"""Names of classes: a user's file of them, and whether they fit the answers of a model."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.labels import in_order
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Signature

WAYS = "Write one name a line, a JSON list of names, or a JSON object with a name for each number from 0 on"
# The key of a transformers configuration that has the names of classes by their numbers.
BY_NUMBER = "id2label"


def named(source: SourceModel, signature: Signature, path: Path | None) -> SourceModel:
    """Return a source with the names of its classes in ``path`` instead of its own, if the user gives some.

    A note says that the source's own names fit no output; OptionError if the user's don't.
    """
    labels = read(path) if path else source.labels
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
