"""Where a model comes from: one module a scheme, and this one table. `--model SCHEME:NAME`, or a bare name."""

from pathlib import Path
from typing import Protocol

from generator.errors import SourceError
from generator.progress import Progress
from generator.sources import onnx, torchvision
from generator.sources.model import SourceModel
from generator.specs import Options


class Source(Protocol):
    """What a scheme's module offers."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """The distributions whose versions decide the outcome."""

    @property
    def NAMES_FILES(self) -> bool:  # noqa: N802 - a constant of the module
        """Whether the name within this source is the path of a file."""

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the files whose content makes the model called ``name``; SourceError for one that can't be used.

        Weights that an option names, or that are downloaded, are not among them.
        """

    def check(self, name: str) -> None:
        """Raise SourceError if ``name`` is not a model of this source; costs no loading."""

    def load(self, name: str, options: Options, progress: Progress) -> SourceModel:
        """Load the model called ``name`` with the weights that the options ask for; SourceError if it can't be."""


SOURCES: dict[str, Source] = {"torchvision": torchvision, "onnx": onnx}
DEFAULT_SCHEME = "torchvision"


def find(reference: str) -> tuple[Source, str]:
    """Return the source that a reference's scheme stands for, and the name within it."""
    scheme, colon, name = reference.partition(":")
    if not colon:
        scheme, name = DEFAULT_SCHEME, reference
    if scheme not in SOURCES:
        raise SourceError(f"unknown source {scheme!r} in {reference!r}", f"Known: {', '.join(SOURCES)}")
    return SOURCES[scheme], name


def names_a_file(reference: str) -> bool:
    """Tell whether a reference holds the path of a file; False also where its scheme is unknown or names nothing."""
    scheme, colon, name = reference.partition(":")
    return bool(colon and name) and scheme in SOURCES and SOURCES[scheme].NAMES_FILES


def default_name(reference: str) -> str:
    """Return the name that a model is published under unless the user gives it one: the stem of a file's name."""
    name = reference.partition(":")[2] or reference
    return Path(name).stem if names_a_file(reference) else name


def seen_from(reference: str, folder: Path) -> str:
    """Return a reference that is written in a file of ``folder``, with a path that leads there from here."""
    if not names_a_file(reference):
        return reference
    scheme, _, name = reference.partition(":")
    return f"{scheme}:{folder / Path(name).expanduser()}"
