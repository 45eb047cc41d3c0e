"""What is done with a user's data before a model, and with its answers afterwards, as data."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from modelrepo.generator.specs.tensors import TensorSpec


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
    # Before a model: its inputs, by the outputs of this graph. After it: the inputs of this graph, by its outputs.
    joins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrapped:
    """The ``native`` object of the framework "wrapped": a source, with a graph before or after it, or both."""

    inner: Any  # a ``SourceModel``
    before: Fragment | None = None
    after: Fragment | None = None
