"""Where models come from: one module for each scheme, and one table. `--model SCHEME:NAME`, or a name or path alone."""

import os.path
import re
from pathlib import Path

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.sources import (
    exported_program,
    hf,
    keras,
    onnx,
    python,
    savedmodel,
    sklearn,
    tflite,
    timm,
    torchscript,
    torchvision,
)
from modelrepo.generator.sources.source import Source, path_of
from modelrepo.generator.sources.told import Told, is_path, networks, told

SOURCES: dict[str, Source] = {
    "torchvision": torchvision.SOURCE,
    "timm": timm.SOURCE,
    "hf": hf.SOURCE,
    "torch": exported_program.SOURCE,
    "torchscript": torchscript.SOURCE,
    "python": python.SOURCE,
    "keras": keras.SOURCE,
    "savedmodel": savedmodel.SOURCE,
    "tflite": tflite.SOURCE,
    "onnx": onnx.SOURCE,
    "sklearn": sklearn.SOURCE,
}
# What the name of a model that can't be found is shown without.
UNNAMEABLE = re.compile(r"[^A-Za-z0-9]+")
DEFAULT_SCHEME = "torchvision"


def taken(reference: str) -> Told:
    """Return what a reference is taken as: itself, or, without a scheme, what lies at its path; SourceError if none."""
    scheme, colon, _ = reference.partition(":")
    if colon and scheme in SOURCES:
        return Told(reference)
    if colon and not os.path.lexists(path_of(reference)):
        raise _unknown_scheme(scheme, reference)
    return told(reference)


def find(reference: str) -> tuple[Source, str]:
    """Return the source of a reference, and the name within it; SourceError for an unknown scheme, file or folder."""
    scheme, colon, name = taken(reference).reference.partition(":")
    return (SOURCES[scheme], name) if colon else (SOURCES[DEFAULT_SCHEME], scheme)


def whole(reference: str) -> str:
    """Return a reference with the scheme of the file or folder that it names; itself if that is not certain."""
    try:
        return taken(reference).reference
    except SourceError:
        return reference  # ``find`` raises it again


def _unknown_scheme(scheme: str, reference: str) -> SourceError:
    module = Path(scheme if scheme.endswith(".py") else f"{scheme}.py")
    if "://" in reference:
        return SourceError(f"can't download {reference}", "Download the model, and name its file or folder")
    if module.is_file():
        _, _, factory = reference.partition(":")
        return SourceError(f"unknown source {scheme!r} in {reference!r}", f"Write python:{module.stem}:{factory}")
    return SourceError(f"unknown source {scheme!r} in {reference!r}", nearest(scheme, SOURCES))


def default_name(reference: str) -> str:
    """Return the name that a model is published under unless the user gives it one."""
    scheme, colon, name = reference.partition(":")
    if scheme in SOURCES:
        return SOURCES[scheme].default_name(name) if name else reference
    if not colon and not is_path(reference):
        return reference
    return UNNAMEABLE.sub("_", path_of(reference).absolute().stem).strip("_") or "model"


def seen_from(reference: str, folder: Path) -> str:
    """Return a reference written in a file of ``folder``; a path in it becomes relative to the current folder."""
    scheme, colon, name = reference.partition(":")
    if colon and scheme in SOURCES:
        return f"{scheme}:{folder / path_of(name)}" if name and SOURCES[scheme].names_file(name) else reference
    path = folder / path_of(reference)
    lies_here = reference not in networks() and (os.path.lexists(path) or (not colon and is_path(reference)))
    return str(path) if lies_here else reference
