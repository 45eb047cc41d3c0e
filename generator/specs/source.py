"""A loaded source model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.preparation import Meaning, Preparation
from modelrepo.generator.specs.tensors import Arrays, TensorSpec


@dataclass(frozen=True)
class SourceModel:
    """A model in its own framework, ready to be run and exported."""

    reference: str
    framework: str
    native: Any  # the framework's object; only ``export`` of the same framework uses it
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    run: Callable[[Arrays], dict[str, Any]]  # named inputs -> named outputs; InputRefused if the model fails on them
    weights: Weights
    labels: tuple[str, ...] = ()  # a classifier's class names, in order
    own_labels: tuple[str, ...] = ()  # as the model itself calls the classes, if the user names them differently
    preprocess: Mapping[str, Any] | None = None  # how a client prepares an input
    # What the source's own pipeline does with what a user has, before the model; None if it has none.
    preparation: Preparation | None = None
    # What a client has for each input that takes it as it is: "pixels", "text" or "encoded image", by its name.
    input_kinds: Mapping[str, str] = field(default_factory=dict)
    # What its outputs mean, for answers as clients want them; None if it does not say.
    meaning: Meaning | None = None
    # If the symbolic dimensions of ``inputs`` were guessed: the same inputs with fixed sizes, for exporters that need
    # them.
    fixed: tuple[TensorSpec, ...] = ()
    # Files that belong to the model, such as a tokenizer's, by their names in the version folder.
    companions: Mapping[str, Path] = field(default_factory=dict)
    # onnxscript functions for the user's own operators, by torch's operator, such as ``torch.ops.mine.twist.default``.
    translations: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)
    exporter: str = ""  # the framework's only exporter that can read the model; empty if any can
    # Calls a function, and returns what ran of the model's own Python meanwhile: a ``Ran`` of sources/pytorch/ran.py.
    # None for a model without Python of the user's.
    watched: Callable[[Callable[[], Any]], Any] | None = None
    # It rounds to 8 bits within, so that two kernels that are both right answer some steps apart.
    quantized: bool = False
    # Draws a count of likely inputs with a seed, such as texts: groups of arrays with a leading axis of samples.
    # None for a model of which nothing is known but shapes and domains.
    likely: Callable[[int, int], Sequence[Arrays]] | None = None
    # The outputs that mean a direction, and those that are scores of classes on their last axis; others are numbers.
    embeddings: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    # The same model with inputs of types that hold all digits of users' numbers. None for a model whose inputs do, or
    # that computes in their types anyway.
    wider: "SourceModel | None" = None
    notes: tuple[str, ...] = ()  # decisions that the user should know about
