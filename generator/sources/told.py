"""What a model without a scheme is: a name of torchvision's, or a file or folder that its content tells apart."""

import os
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.sources import folders, formats, registered, weights_file
from modelrepo.generator.sources.content import kind_of
from modelrepo.generator.sources.source import path_of

TORCHVISION, TIMM = "torchvision", "timm"
# ORG/NAME, as in sources.hf.hub.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# The suffixes of files that a name of Hugging Face's hub does not have.
SUFFIXES = (
    *(".onnx", ".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".bin", ".keras", ".h5", ".hdf5", ".tflite", ".pb"),
    *(".joblib", ".pkl", ".pickle", ".skops", ".json", ".ubj", ".txt", ".gguf", ".plan", ".engine", ".npz", ".npy"),
    *(".py", ".zip", ".csv"),
)
NAMES = (
    "`modelrepo models` lists the names; a file or folder is named by its path, a model of Hugging Face's hub as "
    "hf:ORG/NAME"
)


@dataclass(frozen=True)
class Told:
    """What was found for a model without a scheme: its ``reference``, and ``remark`` on what it was taken as.

    ``doubt`` says that a file or folder has the name too.
    """

    reference: str
    remark: str = ""
    doubt: str = ""


def told(written: str) -> Told:
    """Return what a model without a scheme is; its reference has the scheme, unless it is a name of torchvision's.

    A name that torchvision knows is its model, even if a file or folder has that name. Raises SourceError with the next
    step for a file or folder that is missing, or that can't be served as it is.
    """
    if not written.strip():
        raise SourceError("the name of the model is empty", NAMES)
    path = path_of(written)
    if written in networks():
        there = os.path.lexists(path)
        doubt = f"{written} is taken as torchvision's model; --model ./{written} is what lies here" if there else ""
        return Told(written, doubt=doubt)
    if os.path.lexists(path):
        return _read(written, path)
    if is_path(written):
        raise _missing(written, path)
    return Told(written)  # torchvision refuses it


def networks() -> frozenset[str]:
    """Return torchvision's names; if it is not installed, those that are known of it."""
    return registered.names(TORCHVISION) or weights_file.known_networks()


def is_path(written: str) -> bool:
    """Whether a text without a scheme is a path, whether or not it exists: it has a folder or a suffix."""
    return "/" in written or "." in written or written.startswith("~")


def unknown(name: str, library: str, names: Collection[str]) -> SourceError:
    """Return the error that a library, torchvision or timm, has no model of this name, with what it may be instead."""
    path = path_of(name)
    if name and os.path.lexists(path):
        return SourceError(f"{name} is not a {library} model", found_at(name))
    return SourceError(f"unknown {library} model {name!r}", _near(name, library, names))


def found_at(written: str) -> str:
    """Return the hint with what lies at a path that was given to another source."""
    path = path_of(written)
    if not path.is_dir():
        return formats.hint(kind_of(path), path)
    try:
        reference = _read(written, path).reference
    except SourceError as error:
        return str(error)
    return f"It is a folder with a model: --model {shlex.quote(reference)}"


def _near(name: str, library: str, names: Collection[str]) -> str:
    """Return the hint with the nearest names, of files as well, or with the library that knows the name itself."""
    if library == TORCHVISION and name.partition(".")[0] in registered.names(TIMM):
        return f"timm has it: --model {TIMM}:{name}"
    if library == TIMM and name in networks():
        return f"torchvision has it: --model {name}"
    files = sorted(each.name for each in Path().iterdir() if each.stem == name)
    near = f"Did you mean {' or '.join(files)}?" if files else nearest(name, names)
    return near if near.startswith("Did you mean") else NAMES


def _read(written: str, path: Path) -> Told:
    kind = kind_of(path)
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise SourceError(f"can't read {path}: Permission denied")
        found = folders.readings(path)
        if len(found) > 1:
            raise folders.several_in(path, found)
        if not found:
            raise folders.none_in(path)
        ((kind, inner),) = found
        if inner != path:
            path, written = inner, str(inner)
    if kind == "hf":
        return Told(f"hf:{written}", f"{written} is a Hugging Face folder: hf:{written}")
    if kind not in formats.READ:
        raise SourceError(f"can't read a model from {path}", formats.hint(kind, path))
    what, scheme = formats.READ[kind]
    reference = f"{scheme}:{written}"
    return Told(reference, f"{written} is {what}: {reference}")


def _missing(written: str, path: Path) -> SourceError:
    """Return the error that nothing lies at a path, which may be the name of another source's model."""
    if path.suffix not in SUFFIXES and written.partition(".")[0] in registered.names(TIMM):
        return SourceError(f"there is no file {written}", f"timm has a model of that name: --model {TIMM}:{written}")
    try:
        kind_of(path)
    except SourceError as error:
        of_hub = HUB_NAME.fullmatch(written) and path.suffix not in SUFFIXES and not path.parent.is_dir()
        hint = f"If it is a model of Hugging Face's hub: --model hf:{written}" if of_hub else error.hint
        return SourceError(error.message, hint)
    return SourceError(f"there is no file {written}")  # it came into being meanwhile
