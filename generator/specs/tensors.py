"""Tensors as data: their shapes, types and values, and the signature of a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from modelrepo.generator.specs import dimensions

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Dim = int | str


@dataclass(frozen=True)
class Domain:
    """The values that an input may have."""

    low: float | None = None  # inclusive; None: no bound
    high: float | None = None  # inclusive; None: no bound
    known: bool = True  # False: the model may refuse values within the bounds
    mask: bool = False  # a token mask: ones, then zeros along the last axis, and never zeros only
    choices: tuple[str | float, ...] = ()  # the only values that the model accepts, if any
    center: tuple[float, ...] = ()  # the mean of floats along the last axis; empty: 0
    spread: tuple[float, ...] = ()  # their standard deviation along the last axis; empty: 1
    wave: bool = False  # samples of a sound, where a constant is silence
    missing: bool = False  # the model takes NaN for a missing value
    # By element of the last axis: numbers that the model compares the element with before it computes with it, such as
    # the thresholds of trees. Its answers may change exactly there, so they must be right there. Empty: none.
    edges: tuple[tuple[float, ...], ...] = ()
    # Values outside of ``choices`` that a client may send, such as categories that were not fitted.
    others: tuple[str | float, ...] = ()


# One-byte values are colours or quantized numbers and use their full range; larger integers may be indices.
BYTES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}


def unknown_domain(dtype: str) -> Domain:
    """Return the domain of an input of which only the type is known."""
    low, high = BYTES.get(dtype, (None, None))
    return Domain(low, high, known=False)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    dtype: str  # numpy's name
    shape: tuple[Dim, ...]  # sizes, and names of symbolic dimensions
    domain: Domain = Domain()
    # Sizes that a symbolic dimension is tested with, if it doesn't accept any size.
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    optional: bool = False  # an input with a default value
    # Values that the model answers, repeated or cut for other sizes; None: any of its domain are.
    example: "Array | None" = field(default=None, compare=False, repr=False)

    @property
    def described(self) -> "TensorSpec":
        """The same without the values that only verification asks for: there may be thousands."""
        return replace(self, domain=replace(self.domain, edges=(), others=()))

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the concrete shape: symbolic dimensions are looked up in ``sizes``, or computed from those."""
        return tuple(dimensions.size_of(dim, sizes) if isinstance(dim, str) else dim for dim in self.shape)

    def scores(self, count: int) -> bool:
        """Whether the last axis, or the only one of several besides the batch, has ``count`` elements."""
        return self.shape[-1:] == (count,) or [dim for dim in self.shape[1:] if dim != 1] == [count]

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

        Their leading dimension is not the first input's symbolic one, or another dimension is it, or follows from it.
        """
        first = self.inputs[0].shape[:1]
        return tuple(
            spec
            for spec in (*self.inputs, *self.outputs)
            if spec.shape[:1] != first
            or not spec.shape
            or not isinstance(spec.shape[0], str)
            or 1 not in spec.sizes.get(spec.shape[0], (1,))
            or any(isinstance(dim, str) and spec.shape[0] in (dim, *dimensions.terms(dim)) for dim in spec.shape[1:])
        )

    @property
    def required(self) -> "Signature":
        """The signature without optional inputs."""
        return Signature(tuple(spec for spec in self.inputs if not spec.optional), self.outputs)

    @property
    def batch_dim(self) -> Dim | None:
        """The leading symbolic dimension that every input and output shares, or None."""
        return None if self.unbatched else self.inputs[0].shape[0]


def first_sizes(inputs: Iterable[TensorSpec]) -> dict[str, int]:
    """Return the first size of each symbolic dimension of the inputs, 1 unless they say otherwise: the warm-up's."""
    specs = list(inputs)
    dims = [dim for spec in specs for dim in spec.shape if isinstance(dim, str)]
    known = {dim: sizes[0] for spec in specs for dim, sizes in spec.sizes.items() if sizes}
    sizes = dimensions.settled({dim: known.get(dim, 1) for dim in dimensions.own(dims)}, dims)
    return {dim: dimensions.size_of(dim, sizes) for dim in dims}


# The types that a user can give an input, by numpy's names; `object` is a string.
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "object"),
)


@dataclass(frozen=True)
class InputShape:
    """An example of an input, as a user describes it."""

    name: str  # empty for a model with one input
    shape: tuple[int, ...]  # the whole shape, with the batch dimension
    dtype: str = ""  # empty: not given
