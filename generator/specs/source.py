"""A loaded source model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.tensors import Arrays, TensorSpec


@dataclass(frozen=True)
class SourceModel:
    """A model in its own framework, ready to be asked and to be exported.

    ``native`` is the framework's object, which only ``export`` of the same ``framework`` looks into. ``run`` answers
    a mapping of named input arrays with named output arrays, and raises InputRefused where the model fails on them.
    ``labels`` are a classifier's class names in order, and ``preprocess`` says how a client prepares an input.

    Where the symbolic dimensions of ``inputs`` were only guessed, ``fixed`` are the same inputs with all sizes, for
    exporters that do not take them otherwise. ``companions`` are files that belong to the model, such as a tokenizer's,
    by their names in the version folder. ``translations`` are functions of onnxscript for operators of the user's own,
    by the operator as torch calls it, such as ``torch.ops.mine.twist.default``. ``exporter`` is
    the only one of its framework's that reads the model, where not all do. ``notes`` tell the user what was decided.
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
    fixed: tuple[TensorSpec, ...] = ()
    companions: Mapping[str, Path] = field(default_factory=dict)
    translations: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)
    exporter: str = ""
    notes: tuple[str, ...] = ()
