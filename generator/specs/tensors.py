"""The data that travels through the pipeline: frozen, free of side effects, importable without any framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray


Array: TypeAlias = "NDArray[Any]"
Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Dim = int | str


@dataclass(frozen=True)
class Domain:
    """The values an input may take: unbounded floats unless ``low`` and ``high`` (both inclusive) say otherwise.

    ``known`` is False where nothing says what the model can be asked: it may refuse values within the bounds. ``mask``
    is True for a mask of tokens: along the last axis ones and then zeros, and never zeros only. ``choices``, if
    any, are the texts or numbers that the model knows; nothing else is asked. ``center`` and ``spread`` say, along
    the last axis, around which value floats lie and how widely: 0 and 1 where they are empty. ``wave`` is True for the
    samples of a sound: one that does not change is silence, and all zeros.
    """

    low: float | None = None
    high: float | None = None
    known: bool = True
    mask: bool = False
    choices: tuple[str | float, ...] = ()
    center: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    wave: bool = False


# Values of one byte are colours or quantized numbers and use all of their range; larger ones may be places in a list.
BYTES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}


def unknown_domain(dtype: str) -> Domain:
    """Return the values of an input that nothing is known about but its type."""
    low, high = BYTES.get(dtype, (None, None))
    return Domain(low, high, known=False)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. ``shape`` holds sizes, and names for symbolic dimensions; ``dtype`` is numpy's name.

    ``sizes`` are those that a symbolic dimension is tried with, for one that does not take any size; the first is that
    of Triton's warm-up. An ``optional`` input has a value of its own where it is not given.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    domain: Domain = Domain()
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    optional: bool = False

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the concrete shape with every symbolic dimension looked up in ``sizes``."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.shape)

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs in full."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def unbatched(self) -> tuple[TensorSpec, ...]:
        """The tensors that keep Triton from batching.

        These do not have the first input's symbolic leading dimension, or have it in another place, too.
        """
        first = self.inputs[0].shape[:1]
        return tuple(
            spec
            for spec in (*self.inputs, *self.outputs)
            if spec.shape[:1] != first
            or not spec.shape
            or not isinstance(spec.shape[0], str)
            or spec.shape[0] in spec.shape[1:]
        )

    @property
    def required(self) -> "Signature":
        """The same without optional inputs."""
        return Signature(tuple(spec for spec in self.inputs if not spec.optional), self.outputs)

    @property
    def batch_dim(self) -> Dim | None:
        """The leading symbolic dimension that every input and output shares, or None."""
        return None if self.unbatched else self.inputs[0].shape[0]


# The types that an input can be said to have, by numpy's names; `object` is a string.
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "object"),
)


@dataclass(frozen=True)
class InputShape:
    """An example of an input, as a user describes it: its whole shape, the batch dimension included.

    ``name`` is empty where a model has one input, and ``dtype`` where nothing was said about it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = ""
