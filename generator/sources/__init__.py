"""Where a model comes from: one module a scheme, and this one table. `--model SCHEME:NAME`, or a bare name."""

from typing import Protocol

from generator.errors import SourceError
from generator.progress import Progress
from generator.sources import torchvision
from generator.sources.model import SourceModel
from generator.specs import Options


class Source(Protocol):
    """What a scheme's module offers."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """The distributions whose versions decide the outcome."""

    def check(self, name: str) -> None:
        """Raise SourceError if ``name`` is not a model of this source; costs no loading."""

    def load(self, name: str, options: Options, progress: Progress) -> SourceModel:
        """Load the model called ``name`` with the weights that the options ask for; SourceError if it can't be."""


SOURCES: dict[str, Source] = {"torchvision": torchvision}
DEFAULT_SCHEME = "torchvision"


def find(reference: str) -> tuple[Source, str]:
    """Return the source that a reference's scheme stands for, and the name within it."""
    scheme, colon, name = reference.partition(":")
    if not colon:
        scheme, name = DEFAULT_SCHEME, reference
    if scheme not in SOURCES:
        raise SourceError(f"unknown source {scheme!r} in {reference!r}", f"Known: {', '.join(SOURCES)}")
    return SOURCES[scheme], name
