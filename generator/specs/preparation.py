"""What is done with a user's data before a model, and with its answers afterwards, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelrepo.generator.specs.tensors import Array, TensorSpec

# The outputs of graphs after a model.
SCORES, CLASSES, LABELS, BOXES, COUNT = "scores", "classes", "labels", "boxes", "count"
CLASS_MAP, MARGIN, EMBEDDING = "class_map", "margin", "embedding"
# The framework of a source with a graph before or after it.
WRAPPED = "wrapped"


@dataclass(frozen=True)
class Preparation:
    """What a source's own pipeline does with what a user has, in the framework's own code.

    ``steps`` describes the same as data, for the graph that does it in the server.
    """

    kind: Literal["image", "text"]
    input: str  # of the model, that is prepared from a picture
    # A picture of uint8 (height, width, 3), RGB, as the model takes it: without a batch.
    own: Callable[[Array], Array]
    steps: tuple[Any, ...] = ()


MeaningKind = Literal["softmax", "sigmoid", "queries", "focal", "found", "segments", "embedding", "tokens", "none"]


@dataclass(frozen=True)
class Meaning:
    """What a source's outputs mean, as far as it says so itself.

    "softmax" and "sigmoid" are scores of classes, of which one or several are right. "queries" and "focal" are a
    transformer's boxes (centre, width and height as shares of the picture) with scores for each, with and without one
    for "nothing"; "found" are boxes that the model itself has chosen. "segments" are scores of classes for each place
    of a picture, "embedding" is one vector a sample, and "tokens" is one for each token. "none" has a reason why
    nothing can be made of the outputs.
    """

    kind: MeaningKind
    outputs: tuple[str, ...] = ()  # those that are read; for boxes the scores first
    labels: tuple[str, ...] = ()  # the names of the classes, if the source's own ``labels`` are not they
    reason: str = ""


@dataclass(frozen=True)
class Fragment:
    """A graph that is put before a model, or after it, and joined with it."""

    model: Any  # an ``onnx.ModelProto`` with as few operators as do
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    # Before a model: its inputs, by the outputs of this graph. After it: the inputs of this graph, by the inputs and
    # outputs of the model that they are. Operators must mean the same in all later operator sets: the model's counts.
    joins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrapped:
    """The ``native`` object of the framework "wrapped": a source, with a graph before or after it, or both."""

    inner: Any  # a ``SourceModel``
    before: Fragment | None = None
    after: Fragment | None = None
