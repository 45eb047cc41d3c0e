"""An exporter: how a framework's model becomes one form of model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel


@dataclass(frozen=True)
class Exporter:
    """A way from a framework to a form of model, by both in the table ``EXPORTERS``."""

    # Writes the model below a folder, in a form that the target release reads; ConversionError if that is impossible.
    export: Callable[[SourceModel, Path, Options], Export]
    # The distributions whose versions decide the outcome.
    packages: tuple[str, ...]
