"""What is done with a user's data before a model, and with its answers afterwards, as data."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from modelrepo.generator.specs.tensors import Array, TensorSpec

# The outputs of graphs after a model.
SCORES, CLASSES, LABELS, BOXES, COUNT = "scores", "classes", "labels", "boxes", "count"
CLASS_MAP, MARGIN, EMBEDDING = "class_map", "margin", "embedding"
# The framework of a source with a graph before or after it.
WRAPPED = "wrapped"
# The beginnings of the names of nodes and tensors of graphs before and after a model.
BEFORE, AFTER = "prepare/", "finish/"
# What a note of a source begins with that has no preparation for clients; no graph leaves that to them.
UNPREPARED = "clients can't prepare an image: "


@dataclass(frozen=True)
class Preparation:
    """What a source's own pipeline does with what a user has, in the framework's own code.

    ``steps`` describes the same as data, for the graph that does it in the server.
    """

    kind: Literal["image", "text"]
    input: str  # of the model, that is prepared from a picture
    # A picture of uint8 (height, width, 3), RGB, as the model takes it: without a batch. Or a list of texts as the
    # model's inputs by name, padded to the longest.
    own: Callable[[Any], Any]
    steps: tuple[Any, ...] = ()
    reason: str = ""  # why no graph can do the same; empty if ``steps`` do

    @property
    def step(self) -> Array:
        """How far two neighbouring numbers of uint8 are from each other as the model takes them: (3 or 1, 1, 1)."""
        import numpy as np

        size: Array = np.ones((1, 1, 1))
        for each in self.steps:
            if isinstance(each, Compute) and each.operator in ("Mul", "Div"):
                values = np.reshape(each.values, (-1, 1, 1))
                size = size / values if each.operator == "Div" else size * values
        return size


@dataclass(frozen=True)
class Resize:
    """A picture is resized with a filter that counts all pixels it covers.

    "shorter" makes the shorter side ``size[0]`` pixels, and the longer one as many as the shape has, rounded down.
    "covering" and "inside" keep the shape, too: the picture covers ``size``, or lies within it, to the nearest pixel.
    "exact" makes it ``size``, height and width. With ``turns`` the vertical pass may be the first, as in Pillow.
    """

    rule: Literal["shorter", "covering", "inside", "exact"]
    size: tuple[int, int]
    filter: Literal["bilinear", "bicubic"]
    turns: bool


@dataclass(frozen=True)
class Crop:
    """The centre of a picture is cut out, with borders of the colour ``fill`` around a picture that is smaller."""

    size: tuple[int, int]  # height and width
    to_even: bool  # half a pixel beside the centre is rounded to an even number, and else down
    fill: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Compute:
    """A number for every colour is added to, or divides, the values of that colour, in float32."""

    operator: Literal["Add", "Sub", "Mul", "Div"]
    values: tuple[float, ...]  # one, or one for each of red, green and blue


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
class Tokenizing:
    """How texts become the inputs of a model, as its own library does it: a tokenizer, and its settings.

    ``given`` are the inputs that the tokenizer gives, ``constant`` those of one number for every token, and ``numbers``
    those of one number for a text; each with its numpy type. The ``prefix`` is put before each text.
    """

    tokenizer: str  # as JSON, for the library tokenizers
    given: Mapping[str, str]
    constant: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    longest: int | None = None  # tokens; longer texts are cut
    most: int | None = None  # tokens that the model has positions for; longer texts are refused
    fixed: int | None = None  # tokens that the model takes; shorter texts are padded to them
    truncation_side: str = "right"
    padding_side: str = "right"
    padding_id: int | None = None  # None: the tokenizer can't pad
    padding_type: int = 0
    split_special: bool = False  # special tokens within a text are plain text
    prefix: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """All but the tokenizer, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "tokenizer"}


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
