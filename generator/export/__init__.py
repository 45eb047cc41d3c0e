"""From a framework's model to ONNX: one module a framework, and this one table."""

from pathlib import Path
from typing import Protocol

from generator.export import torch
from generator.releases import Release
from generator.sources.model import SourceModel
from generator.specs import Export


class Exporter(Protocol):
    """What a framework's module offers."""

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """The distributions whose versions decide the outcome."""

    def export(self, source: SourceModel, path: Path, opset: int, release: Release) -> Export:
        """Write the source as ONNX to ``path``, within what ``release`` reads; ConversionError if it can't be."""


EXPORTERS: dict[str, Exporter] = {"torch": torch}
