"""A loaded source model, whatever framework it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from generator.specs import Arrays, TensorSpec, Weights


@dataclass(frozen=True)
class SourceModel:
    """A model in its own framework, ready to be asked and to be exported.

    ``native`` is the framework's object, which only ``export`` of the same ``framework`` looks into. ``run`` answers
    a mapping of named input arrays with named output arrays. ``labels`` are a classifier's class names in order, and
    ``preprocess`` says how a client prepares an input.
    """

    reference: str
    framework: str
    native: Any
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    run: Callable[[Arrays], dict[str, Any]]
    weights: Weights
    labels: tuple[str, ...] = ()
    preprocess: Mapping[str, Any] | None = None
