"""Names of classes: a user's file of them, and whether they fit the answers of a model."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources import formats
from modelrepo.generator.sources.source import path_of
from modelrepo.generator.specs.labels import in_order
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Signature
from modelrepo.generator.verification.labelled import classes_of

WAYS = "Write one name a line, a JSON list of names, or a JSON object with a name for each number from 0 on"
AS_TEXT = "Save the names as text: numpy.save(path, classes.astype(str))"
# Files that often name the classes of the model beside them.
CONFIG = "config.json"
FILES = ("labels.txt", CONFIG, "classes.txt", "class_names.txt", "labels.json", "id2label.json")
# The key of a transformers configuration that has the names of classes by their numbers.
BY_NUMBER = "id2label"
# The keys under which a file of JSON may have them, the first that is there.
KEYS = (BY_NUMBER, "label2id", "class_indices", "class_names", "classes", "names", "labels")
# Text of another kind, as ``formats`` names it: its lines would become names.
NO_NAMES = ("pointer", "page")
# How many of a model's own classes a note names.
SHOWN = 12


def named(source: SourceModel, signature: Signature, options: Options) -> SourceModel:
    """Return a source with the names of its classes that the user gives instead of its own, if there are any.

    A note says that the source's own names fit no output, or that a file beside it is not read; OptionError if the
    user's names don't fit.
    """
    path = options.labels
    if path:
        return _renamed(source, signature, read(path), path)
    listed = None if source.labels else _beside(options)
    if listed:
        return _noted(source, f"{listed} is not read: if it names the classes, --labels {listed} publishes them")
    if not source.labels or _scoring(signature, source.labels):
        return source
    outputs = ", ".join(map(str, signature.outputs))
    count = len(source.labels)
    note = f"the names of its {count} classes are not published: no output has a score for each ({outputs})"
    return _noted(source, note)


def _renamed(source: SourceModel, signature: Signature, names: tuple[str, ...], path: Path) -> SourceModel:
    """Return a source with the user's names; notes say where they are published, and which classes they name."""
    own = source.labels if len(source.labels) == len(names) else ()
    if own and own != names and sorted(own) == sorted(names) and source.framework == "sklearn":
        raise OptionError(
            f"{path} names the classes in another order than the model, whose classes are {_listed(own)}",
            "Leave out --labels: the model's own names are published",
        )
    renamed = replace(source, labels=names, own_labels=own)
    outputs = ", ".join(map(str, signature.outputs))
    scoring = _scoring(signature, names)
    if not scoring and len(names) == 2 and classes_of(signature).single:
        note = f"the names in {path} are not published: Triton names scores, and {outputs} has one for both classes"
        return _noted(renamed, note)
    if not scoring:
        raise OptionError(
            f"{path} names {len(names)} classes, and no output has {len(names)} scores a sample: {outputs}",
            "Give a name for each score, in their order",
        )
    if len(scoring) > 1:
        return _noted(renamed, f"the names in {path} are those of {' and of '.join(scoring)}")
    if own not in ((), names, tuple(map(str, range(len(own))))):
        return _noted(renamed, f"the names in {path} are those of the classes {_listed(own)}, in this order")
    return renamed


def _scoring(signature: Signature, names: Sequence[str]) -> list[str]:
    """Return the outputs with a score for each name."""
    return [spec.name for spec in signature.outputs if spec.scores(len(names))]


def _noted(source: SourceModel, note: str) -> SourceModel:
    return replace(source, notes=(*source.notes, note))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


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
    """Return the names of classes in a file, each as one line; OptionError for a file that holds something else.

    It has a name a line, with or without its number; columns of both; JSON; or an array of names, as numpy saves one.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x93NUMPY"):
            return _from_array(content, path)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not text in UTF-8", WAYS) from error
    if "\0" in text:
        raise OptionError(f"{path} is not text", WAYS)
    kind = formats.kind_of(path) if content and path.is_file() else ""
    if kind in NO_NAMES:
        raise OptionError(f"{path} does not name classes", formats.hint(kind, path))
    return _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else _from_lines(text, path)


def _from_array(content: bytes, path: Path) -> tuple[str, ...]:
    import numpy as np

    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise OptionError(f"can't read {path}: it is cut off, or holds Python objects", AS_TEXT) from error
    names = in_order([str(each) for each in found.tolist()]) if found.ndim == 1 and found.dtype.kind in "Uiu" else ()
    if not names:
        raise OptionError(f"{path} is {found.dtype}{list(found.shape)}, and not a list of names", AS_TEXT)
    return names


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    """Return a name a line, without the number of the class if every line begins with it.

    Blank lines may follow, but not come between: a class would get another's name.
    """
    lines = [" ".join(line.split()) for line in text.rstrip().splitlines()]
    if not lines or "" in lines:
        what = f"line {lines.index('') + 1} of {path} is blank, and names no class" if lines else f"{path} is empty"
        raise OptionError(what, WAYS)
    columns = _from_columns(lines)
    if columns:
        return columns
    numbered = [re.fullmatch(rf"{number}[\s:,]+(.+)", line) for number, line in enumerate(lines)]
    if len(lines) > 1 and all(numbered):
        return tuple(match[1] for match in numbered if match)
    return tuple(lines)


def _from_columns(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the names in two columns, names and their numbers from 0 on, with or without a heading; else none."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)]
    if len(rows) < 2 or any(len(row) != 2 for row in rows):
        return ()
    for body in (rows, rows[1:]):
        for place in (0, 1):
            by_number = {row[place]: row[1 - place] for row in body}
            if by_number.keys() == {str(number) for number in range(len(body))}:
                return in_order(by_number)
    return ()


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise OptionError(f"{path} is not valid JSON: {error}", WAYS) from error
    names = in_order(next((found[key] for key in KEYS if key in found), found) if isinstance(found, Mapping) else found)
    if not names:
        raise OptionError(f"{path} does not name every class", WAYS)
    return names
