"""The inputs of `modelrepo infer`: values and headers from the command line, and what manifests say of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrepo.cli.terminal.infer_data import Fitted, load
from modelrepo.clients.inputs import Inputs
from modelrepo.generator.errors import ModelRepoError, OptionError
from modelrepo.generator.repository.repository import Repository


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
