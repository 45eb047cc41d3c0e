"""The inputs of `modelrepo infer`: values and headers from the command line, arrays from files, images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients import load_image
from modelrepo.clients.inputs import Inputs
from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.repository import Repository


def read_image(path: Path, repository: Path, model: str, version: str) -> Inputs:
    """Return an image as the model's only input, float32 [1, 3, height, width], prepared as in its manifest.

    The manifest is that of the given version, or of the newest. Raises OptionError if it has no image preparation,
    InputError and DependencyError if the image can't be read.
    """
    manifests = Repository(repository).manifests(model)
    found = [each for each in manifests if not version or str(each.version) == version]
    preprocess = found[-1].provenance.source.preprocess if found else None
    if preprocess is None:
        raise OptionError(
            f"{repository} has no image preparation for {model}",
            "Name the repository it was generated in with --repository, or give the array with --input",
        )
    return [load_image(path, preprocess)]


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
        loaded = _load(Path(value[1:]))
    else:
        try:
            loaded = json.loads(value)
        except (ValueError, RecursionError) as error:
            hint = f"""Quote text: --input '{f"{name}=" if name else ""}["text"]', or read a file with @FILE.npy"""
            raise OptionError(f"--input {text!r} is not JSON: {error}", hint) from error
    if name and isinstance(loaded, Mapping):
        raise OptionError(f"--input {text!r} holds several inputs for one name", "Leave the name out")
    return name, loaded


def _load(path: Path) -> Any:
    """Return the array of a .npy file, or the arrays of a .npz file by name."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read {path}: it is not a .npy or .npz file of numbers") from error


def read_headers(texts: Sequence[str]) -> dict[str, str]:
    """Return the headers of ``--header 'NAME: VALUE'`` by name; OptionError for one without a colon."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise OptionError(f"--header {text!r} is not a header", "Write it as 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers
