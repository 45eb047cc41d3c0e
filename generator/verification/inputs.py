"""Inputs for verification: several generated families, and the user's own samples."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelrepo.generator.specs import dimensions
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec

ODD_BATCH = 3
# Sizes of symbolic dimensions in an example for exporters: torch.export treats a dimension of 0 or 1 as a constant.
EXAMPLE_BATCH, EXAMPLE_SIZE = 2, 7
# Sizes of symbolic dimensions (not the batch) if the model does not say which it accepts: small ones, and larger ones
# for models that refuse those.
SIZES, LARGER_SIZES = (1, 2, 3), (32, 224)
# What the length of a decoder's cache is called; before the first token it is empty.
CACHED = re.compile(r"past|cache", re.IGNORECASE)


@dataclass(frozen=True)
class Pool:
    """A set of inputs that batches are chosen from."""

    arrays: Arrays  # all with the same leading axis: the rows
    families: tuple[str, ...]  # the kind of each row, such as "zeros" or "sample cat.png"

    def rows(self, indices: Sequence[int]) -> Arrays:
        """Return one batch of these rows, in this order."""
        return {name: np.ascontiguousarray(array[list(indices)]) for name, array in self.arrays.items()}

    def whole(self, row: int) -> dict[str, Array]:
        """Return one row without the leading axis; always arrays, even without dimensions."""
        return {name: array[row, ...] for name, array in self.arrays.items()}

    def single(self, row: int, signature: Signature) -> Arrays:
        """Return one row as the model takes it: a batch of one, or a whole input set if it has no batches."""
        return self.whole(row) if signature.batch_dim is None else self.rows([row])

    def only(self, indices: Sequence[int]) -> "Pool":
        """Return a pool of these rows."""
        return Pool(self.rows(indices), tuple(self.families[row] for row in indices))


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return random.standard_normal(shape)


# Families of one value, on which many edges between two answers lie.
CONSTANT = ("zeros", "ones")
RANDOM = ("random 1", "random 2", "random 3")
FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    **dict.fromkeys(RANDOM, _normal),
    "zeros": lambda random, shape: np.zeros(shape),
    "ones": lambda random, shape: np.ones(shape),
    "small (x0.1)": lambda random, shape: 0.1 * _normal(random, shape),
    "large (x10)": lambda random, shape: 10.0 * _normal(random, shape),
}


def make_pool(inputs: Sequence[TensorSpec], size: int, seed: int) -> Pool:
    """Return one row of each input family, filled up to ``size`` rows with more random ones.

    The leading dimension of each input is that of the rows; all others must have a size.
    """
    more = max(0, size - len(FAMILIES))
    names = (*FAMILIES, *(f"random {number}" for number in range(len(RANDOM) + 1, len(RANDOM) + 1 + more)))
    arrays = {}
    for position, spec in enumerate(inputs):
        sizes = tuple(int(dim) for dim in spec.shape[1:])
        random = np.random.default_rng([seed, position])
        arrays[spec.name] = np.empty((len(names), *sizes), spec.dtype)
        for row, name in enumerate(names):
            arrays[spec.name][row, ...] = _into_domain(np.asarray(FAMILIES.get(name, _normal)(random, sizes)), spec)
    return Pool(arrays, names)


def drawn(inputs: Sequence[TensorSpec], count: int, seed: int) -> Pool:
    """Return ``count`` random rows, within the domains of inputs whose leading dimension is that of the rows."""
    arrays = {}
    for position, spec in enumerate(inputs):
        shape = (count, *(int(dim) for dim in spec.shape[1:]))
        values = np.random.default_rng([seed, position]).standard_normal(shape)
        arrays[spec.name] = _into_domain(values, spec)
    return Pool(arrays, tuple(f"random {row + 1}" for row in range(count)))


def generated(signature: Signature, size: int, seed: int) -> Iterator[tuple[bool, Pool]]:
    """Yield pools of generated inputs; each with True if it is only for models that refuse the earlier ones.

    A row is one sample, or a whole input set for a model without a batch dimension. Each pool comes without optional
    inputs first, and then with all of them.
    """
    lead = 0 if signature.batch_dim is None else 1
    dims = [dim for spec in signature.inputs for dim in spec.shape[lead:] if isinstance(dim, str)]
    symbolic = set(dimensions.own(dims))
    known = {dim: sizes for spec in signature.inputs for dim, sizes in spec.sizes.items() if dim in symbolic}
    usual = max([1, *map(len, known.values()), *([len(SIZES)] if symbolic - known.keys() else [])])
    turns: list[tuple[bool, dict[str, int]]] = []
    for turn in range(usual + (len(LARGER_SIZES) if symbolic - known.keys() else 0)):
        sizes = {}
        for dim in symbolic:
            own = known.get(dim, SIZES if turn < usual else LARGER_SIZES)
            sizes[dim] = own[(turn if turn < usual else turn - usual) % len(own)]
        turns.append((turn >= usual, dimensions.settled(sizes, dims)))
    cached = [dim for dim in symbolic - known.keys() if CACHED.search(dim)]
    if cached:
        turns.insert(usual, (False, {**turns[usual - 1][1], **dict.fromkeys(cached, 0)}))
    required = signature.required
    for for_refusing, sizes in turns:
        for given in (required,) if required == signature else (required, signature):
            inputs = [
                replace(spec, shape=("row", *replace(spec, shape=spec.shape[lead:]).sized(sizes)))
                for spec in given.inputs
            ]
            yield for_refusing, make_pool(inputs, size, seed)


def example_sizes(inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Return a size above 1 for each symbolic dimension of an example, which the input accepts.

    Dimensions that follow from others have none of their own.
    """
    sizes: dict[str, int] = {}
    dims = [dim for spec in inputs for dim in spec.shape if isinstance(dim, str)]
    own = dimensions.own(dims)
    for spec in inputs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str) and dim in own:
                usual = EXAMPLE_SIZE if axis else EXAMPLE_BATCH
                sizes[dim] = next((size for size in spec.sizes.get(dim, ()) if size > 1), sizes.get(dim, usual))
    return dimensions.settled(sizes, dims, least=2)


def example(spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    """Return fixed values within an input's domain, with these sizes of its symbolic dimensions."""
    if spec.example is not None:
        return _resized(spec.example, spec.sized(sizes))
    return make_pool([replace(spec, shape=("row", *spec.sized(sizes)))], 1, 0).arrays[spec.name][0, ...]


def _resized(values: Array, shape: Sequence[int]) -> Array:
    """Return values repeated or cut along each axis."""
    for axis, size in enumerate(shape):
        values = values.take(np.arange(size) % values.shape[axis], axis=axis)
    return values


def _into_domain(values: Array, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if spec.domain.choices:
        return _chosen(values, spec.domain.choices, dtype)
    if spec.domain.mask:
        return _mask(values).astype(dtype)
    if dtype == np.bool_:
        return np.asarray(values > 0)
    if dtype == np.object_:  # strings: models that read text are least likely to refuse numbers
        texts = np.empty(values.shape, object)
        texts.ravel()[:] = [f"{value:.2g}" for value in values.ravel()]
        return texts
    low, high = spec.domain.low, spec.domain.high
    if spec.domain.wave:  # a tone: with a constant, networks that normalise over time would divide by zero
        values = values * np.cos(np.arange(values.shape[-1]))
    if spec.domain.spread:
        values = np.asarray(spec.domain.center) + np.asarray(spec.domain.spread) * values
    if np.issubdtype(dtype, np.integer):
        low = min(0.0, high or 0.0) if low is None else low
        high = max(1.0, low + 1.0) if high is None else high
        values = _whole(values, low, high)
    return np.clip(values, low, high).astype(dtype)


def _whole(values: Array, low: float, high: float) -> Array:
    """Return whole numbers that reach most of a range; zeros become its lower end if it does not hold zero."""
    if low <= 0 <= high:
        return np.round(values * max(1.0, high / 3))
    return np.round(low + np.abs(values) * (high - low) / 2)


def _chosen(values: Array, choices: Sequence[str | float], dtype: np.dtype[Any]) -> Array:
    """Return a choice for each value: the first for zeros; normal values reach most choices."""
    known: Array = np.empty(len(choices), dtype)
    known[:] = choices
    places = np.round(np.abs(values) * max(1.0, len(choices) / 2)).astype(int) % len(choices)
    return np.asarray(known[places])


def _mask(values: Array) -> Array:
    """Return ones and then zeros along the last axis: the larger its first value, the more ones, at least one."""
    length = values.shape[-1]
    ones = np.ceil(length / (1 + np.exp(-2.0 * values[..., :1])))
    return np.asarray(np.arange(length) < np.maximum(ones, 1))


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the batch sizes to compare at: 1, 2, an odd one and the largest."""
    return tuple(sorted({size for size in (1, 2, ODD_BATCH, max_batch_size) if 1 <= size <= max(1, max_batch_size)}))


def without_denormals(array: Array) -> Array:
    """Return an array with zeros in place of its denormal numbers; the same array if it has none."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    denormal = (array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)
    return np.where(denormal, array.dtype.type(0), array) if denormal.any() else array
