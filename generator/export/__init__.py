"""From a framework's model to ONNX: one package a framework, and this one table."""

from pathlib import Path
from typing import Protocol

from modelrepo.generator.export import onnx, sklearn, tensorflow, torch
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel


class Exporter(Protocol):
    """What a framework's package offers."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the package
        """The distributions whose versions decide the outcome."""

    def export(self, source: SourceModel, folder: Path, options: Options) -> Export:
        """Write ``model.onnx`` below ``folder``, as the target release reads it; ConversionError if impossible."""


EXPORTERS: dict[str, Exporter] = {"torch": torch, "onnx": onnx, "sklearn": sklearn, "tensorflow": tensorflow}
