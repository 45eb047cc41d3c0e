"""Where models come from: one module for each scheme, and one table. `--model SCHEME:NAME`, or a bare name."""

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
DEFAULT_SCHEME = "torchvision"


def find(reference: str) -> tuple[Source, str]:
    """Return the source of a reference's scheme, and the name within it; SourceError for an unknown scheme."""
    scheme, colon, name = reference.partition(":")
    if not colon:
        scheme, name = DEFAULT_SCHEME, reference
    if scheme not in SOURCES:
        raise SourceError(f"unknown source {scheme!r} in {reference!r}", nearest(scheme, SOURCES))
    return SOURCES[scheme], name


def default_name(reference: str) -> str:
    """Return the name that a model is published under unless the user gives it one."""
    scheme, colon, name = reference.partition(":")
    if not colon or not name or scheme not in SOURCES:
        return name or reference
    return SOURCES[scheme].default_name(name)


def seen_from(reference: str, folder: Path) -> str:
    """Return a reference written in a file of ``folder``; a path in it becomes relative to the current folder."""
    scheme, _, name = reference.partition(":")
    if not name or scheme not in SOURCES or not SOURCES[scheme].names_file(name):
        return reference
    return f"{scheme}:{folder / path_of(name)}"
