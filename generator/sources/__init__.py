"""Where a model comes from: one module a scheme, and this one table. `--model SCHEME:NAME`, or a bare name."""

from pathlib import Path
from typing import Protocol

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.progress import Progress
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
from modelrepo.generator.sources.by_path import path_of
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel


class Source(Protocol):
    """What a scheme's module offers. Nothing but ``check`` and ``load`` may import a framework."""

    @property
    def FORM(self) -> str:  # noqa: N802 - a constant of the module
        """How a reference is written, such as ``onnx:FILE``."""

    @property
    def SUMMARY(self) -> str:  # noqa: N802
        """What can be named, in a few words."""

    @property
    def FRAMEWORKS(self) -> tuple[str, ...]:  # noqa: N802
        """The frameworks of the table ``EXPORTERS`` that its models may be of."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802
        """The distributions whose versions decide the outcome, beside those of the exporter."""

    @property
    def OPTIONS(self) -> tuple[str, ...]:  # noqa: N802
        """The fields of ``Options`` that decide what is loaded and exported, and are no matter to some sources."""

    def names_file(self, name: str) -> bool:
        """Tell whether the name within this source is a path."""

    def default_name(self, name: str) -> str:
        """Return the name that a model is published under unless the user gives it one."""

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the files whose content makes the model called ``name``; SourceError for one that can't be used.

        Weights that an option names, or that are downloaded, are not among them.
        """

    def known(self) -> tuple[str, ...]:
        """Return the names that can be given, where they can be listed; SourceError where a framework is missing."""

    def check(self, name: str, options: Options) -> None:
        """Raise SourceError if ``name`` is not a model of this source; costs no loading."""

    def load(self, name: str, options: Options, progress: Progress) -> SourceModel:
        """Load the model called ``name`` with the weights that the options ask for; SourceError if it can't be."""


SOURCES: dict[str, Source] = {
    "torchvision": torchvision,
    "timm": timm,
    "hf": hf,
    "torch": exported_program,
    "torchscript": torchscript,
    "python": python,
    "keras": keras,
    "savedmodel": savedmodel,
    "tflite": tflite,
    "onnx": onnx,
    "sklearn": sklearn,
}
DEFAULT_SCHEME = "torchvision"


def find(reference: str) -> tuple[Source, str]:
    """Return the source that a reference's scheme stands for, and the name within it."""
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
    """Return a reference that is written in a file of ``folder``, with a path that leads there from here."""
    scheme, _, name = reference.partition(":")
    if not name or scheme not in SOURCES or not SOURCES[scheme].names_file(name):
        return reference
    return f"{scheme}:{folder / path_of(name)}"
