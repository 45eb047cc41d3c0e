"""The inputs of `modelrepo infer`: values and headers from the command line, arrays from files, images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.cli.terminal.infer_data import Fitted, Part, Samples, load
from modelrepo.clients import load_image
from modelrepo.clients.inputs import Inputs
from modelrepo.generator.errors import ModelRepoError, OptionError
from modelrepo.generator.repository.repository import Repository

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def is_image(path: Path) -> bool:
    """Whether a path is an image by its suffix, or a folder."""
    return path.suffix.lower() in IMAGES or path.is_dir()


def _preprocess(repository: Path, model: str, version: str) -> Mapping[str, Any] | None:
    manifests = Repository(repository).manifests(model)
    found = [each for each in manifests if not version or str(each.version) == version]
    return found[-1].provenance.source.preprocess if found else None


def preparation(repository: Path, model: str, version: str) -> Mapping[str, Any]:
    """Return how images are prepared for a model: from the manifest of the given version, or of the newest.

    Raises OptionError if it does not say.
    """
    preprocess = _preprocess(repository, model, version)
    if preprocess is None or preprocess.get("kind") != "image":
        raise OptionError(
            f"{repository} has no image preparation for {model}",
            "Name the repository it was generated in with --repository, or give the array with --input",
        )
    return preprocess


def fitted_on(repository: Path, model: str, version: str) -> Fitted:
    """Return what the manifest of a model says of the table that it was fitted on."""
    try:
        found = _preprocess(repository, model, version) or {}
    except ModelRepoError:
        return Fitted()
    if found.get("kind") != "table":
        return Fitted()
    return Fitted(tuple(map(str, found["columns"])), found.get("missing"))


def of_images(path: Path, preprocess: Mapping[str, Any], most: int) -> tuple[Samples, list[str]]:
    """Return the images of a file or a folder, ``most`` a request (0: one without a batch axis), and their labels.

    The labels are the names of the folders that hold them, if all are in folders of a folder; else none. An image is
    float32 [1, 3, height, width], prepared as ``preprocess`` says. InputError and DependencyError if one can't be read.
    """
    if not path.is_dir():
        image = load_image(path, preprocess)
        return Samples(1, lambda: iter([Part([image])])), []
    pictures = _pictures(path)
    size = max(1, most)

    def parts() -> Iterator[Part]:
        for start in range(0, len(pictures), size):
            own = pictures[start : start + size]
            images = [load_image(file, preprocess) for file in own]
            place = str(own[0]) if len(own) == 1 else f"{own[0]} and {len(own) - 1} more"
            yield Part([np.concatenate(images) if most else images[0]], len(own), place)

    labels = [file.parent.name for file in pictures if file.parent != path]
    if labels and len(labels) < len(pictures):
        loose = next(file for file in pictures if file.parent == path)
        raise OptionError(f"{loose} is not in a class folder, but other images of {path} are")
    names = tuple(str(file.relative_to(path)) for file in pictures)
    return Samples(len(pictures), parts, apart=not most, labelled=bool(labels), names=names), labels


def _pictures(folder: Path) -> list[Path]:
    """Return the images in a folder, and in its folders."""
    entries = (sorted(entry.iterdir()) if entry.is_dir() else [entry] for entry in sorted(folder.iterdir()))
    found = [file for files in entries for file in files if file.suffix.lower() in IMAGES]
    if not found:
        raise OptionError(f"{folder} holds no images", f"Images end in {', '.join(IMAGES)}")
    return found


def read_inputs(texts: Sequence[str]) -> Inputs:
    """Return the values of ``--input [NAME=]VALUE``: all by name, or all by position; OptionError for a mixture."""
    named: dict[str, Any] = {}
    positional: list[Any] = []
    for text in texts:
        name, value = _parse(text)
        if isinstance(value, Mapping):
            named.update(value)
        elif name:
            named[name] = value
        else:
            positional.append(value)
    if named and positional:
        raise OptionError("some inputs have a name and some have none", "Write each one as --input NAME=VALUE")
    return named or positional


def _parse(text: str) -> tuple[str, Any]:
    """Return the name of an ``--input``, if it has one, and its value: an array, or several by name."""
    name, equals, value = text.partition("=")
    if not equals or text[0] in '@[{"':
        name, value = "", text
    if value.startswith("@"):
        loaded = load(Path(value[1:]))
    else:
        try:
            loaded = json.loads(value)
        except (ValueError, RecursionError) as error:
            hint = f"""Quote text: --input '{f"{name}=" if name else ""}["text"]', or read a file with @FILE.npy"""
            raise OptionError(f"--input {text!r} is not JSON: {error}", hint) from error
    if name and isinstance(loaded, Mapping):
        raise OptionError(f"--input {text!r} holds several inputs for one name", "Leave the name out")
    return name, loaded


def read_headers(texts: Sequence[str]) -> dict[str, str]:
    """Return the headers of ``--header 'NAME: VALUE'`` by name; OptionError for one without a colon."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise OptionError(f"--header {text!r} is not a header", "Write it as 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers
