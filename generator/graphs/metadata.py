"""What exporters write into the metadata of an ONNX file."""

import ast
import json
from typing import Any

from modelrepo.generator.specs.labels import in_order

# The keys that exporters put the names of classes under: Ultralytics' names, and those of transformers and others.
NAMES = ("names", "id2label", "class_names", "classes", "labels")


def class_names(model: Any) -> tuple[str, tuple[str, ...]]:
    """Return the key of a model's metadata that names its classes, with the names; empty if there is none."""
    found = {entry.key: entry.value for entry in model.metadata_props}
    named = ((key, in_order(_read(found[key]))) for key in NAMES if key in found)
    return next(((key, names) for key, names in named if names), ("", ()))


def _read(text: str) -> Any:
    """Return JSON, or what Python writes of a dict or list; None for other text."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
