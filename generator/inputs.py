"""What a model is asked for verification: generated inputs of several families, and the user's own samples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from generator.errors import OptionError
from generator.specs import Array, Arrays, Dim, Signature, TensorSpec

ODD_BATCH = 3
# What symbolic dimensions are set to, but the batch: small sizes, and larger ones for models that refuse those.
SIZES, LARGER_SIZES = (1, 2, 3), (32, 224)


@dataclass(frozen=True)
class Pool:
    """Inputs to choose batches from: named arrays that share their leading axis, and the family of each row."""

    arrays: Arrays
    families: tuple[str, ...]

    def rows(self, indices: Sequence[int]) -> Arrays:
        """Return one batch made of these rows, in this order."""
        return {name: np.ascontiguousarray(array[list(indices)]) for name, array in self.arrays.items()}

    def only(self, indices: Sequence[int]) -> "Pool":
        """Return the pool that consists of these rows."""
        return Pool(self.rows(indices), tuple(self.families[row] for row in indices))


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return random.standard_normal(shape)


RANDOM = ("random 1", "random 2", "random 3")
FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    **dict.fromkeys(RANDOM, _normal),
    "zeros": lambda random, shape: np.zeros(shape),
    "ones": lambda random, shape: np.ones(shape),
    "small (x0.1)": lambda random, shape: 0.1 * _normal(random, shape),
    "large (x10)": lambda random, shape: 10.0 * _normal(random, shape),
}


def make_pool(inputs: Sequence[TensorSpec], size: int, seed: int) -> Pool:
    """Return at least one row of each input family, filled up to ``size`` rows with further random ones.

    The leading dimension of each input is that of the rows; the others must have a size.
    """
    more = max(0, size - len(FAMILIES))
    names = (*FAMILIES, *(f"random {number}" for number in range(len(RANDOM) + 1, len(RANDOM) + 1 + more)))
    arrays = {}
    for position, spec in enumerate(inputs):
        sizes = tuple(int(dim) for dim in spec.shape[1:])
        random = np.random.default_rng([seed, position])
        arrays[spec.name] = np.empty((len(names), *sizes), spec.dtype)
        for row, name in enumerate(names):
            arrays[spec.name][row] = _into_domain(np.asarray(FAMILIES.get(name, _normal)(random, sizes)), spec)
    return Pool(arrays, names)


def generated(signature: Signature, size: int, seed: int) -> Iterator[tuple[int, Pool]]:
    """Yield pools of generated inputs, each with what its symbolic dimensions were set to.

    A row is one sample of a model that has a batch dimension, and a whole input set of one that has none.
    """
    lead = 0 if signature.batch_dim is None else 1
    symbolic = {dim for spec in signature.inputs for dim in spec.shape[lead:] if isinstance(dim, str)}
    for each in (*SIZES, *LARGER_SIZES) if symbolic else SIZES[:1]:
        sizes = dict.fromkeys(symbolic, each)
        inputs = [
            replace(spec, shape=("row", *replace(spec, shape=spec.shape[lead:]).sized(sizes)))
            for spec in signature.inputs
        ]
        yield each, make_pool(inputs, size, seed)


def _into_domain(values: Array, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype == np.bool_:
        return np.asarray(values > 0)
    if dtype == np.object_:  # strings: numbers, which models that read text are the least likely to refuse
        texts = np.empty(values.shape, object)
        texts.ravel()[:] = [f"{value:.2g}" for value in values.ravel()]
        return texts
    low, high = spec.domain.low, spec.domain.high
    if np.issubdtype(dtype, np.integer):
        low, high = (0 if low is None else low), (1 if high is None else high)
        values = np.round(values * max(1.0, high / 3))  # so that normal values reach most of a vocabulary
    return np.clip(values, low, high).astype(dtype)


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the batch sizes to compare at: 1, 2, an odd one and the largest."""
    return tuple(sorted({size for size in (1, 2, ODD_BATCH, max_batch_size) if 1 <= size <= max(1, max_batch_size)}))


def load_samples(path: Path, signature: Signature) -> tuple[Pool, ...]:
    """Read the user's samples: a .npz of arrays named like the inputs, a .npy for a single input, or a folder of them.

    Every array has a leading batch axis, or the shape of one sample; for a model without a common batch dimension a
    file is one whole input set. Samples of the same shapes come in one pool. Raises OptionError for one that does not
    fit.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in (".npy", ".npz")]
    if not files:
        raise OptionError(f"{path} holds no .npz or .npy samples")
    pools = sorted((_read_pool(file, signature) for file in files), key=_row_shapes)
    return tuple(_joined(list(group)) for _, group in groupby(pools, key=_row_shapes))


def _read_pool(file: Path, signature: Signature) -> Pool:
    inputs = signature.inputs
    arrays = _read_arrays(file, inputs)
    if signature.batch_dim is None:
        fitted = {spec.name: _fitting(arrays[spec.name], spec, spec.shape, file)[np.newaxis] for spec in inputs}
        return Pool(fitted, (f"sample {file.name}",))
    fitted = {}
    for spec in inputs:
        array = arrays[spec.name]
        single = array.ndim == len(spec.shape) - 1
        fitted[spec.name] = _fitting(array[np.newaxis] if single else array, spec, spec.shape, file)
    counts = {len(array) for array in fitted.values()}
    if len(counts) != 1 or 0 in counts:
        raise OptionError(f"{file}: the inputs do not have the same number of samples, at least one")
    return Pool(fitted, (f"sample {file.name}",) * counts.pop())


def _row_shapes(pool: Pool) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in pool.arrays.values()]


def _joined(pools: list[Pool]) -> Pool:
    arrays = {name: np.concatenate([pool.arrays[name] for pool in pools]) for name in pools[0].arrays}
    return Pool(arrays, tuple(family for pool in pools for family in pool.families))


def _read_arrays(file: Path, inputs: Sequence[TensorSpec]) -> Arrays:
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = {inputs[0].name: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read samples from {file}: it is no .npy or .npz file of numbers or text") from error
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise OptionError(f"{file} lacks the input {missing[0]!r}", f"It holds {', '.join(arrays) or 'nothing'}")
    return arrays


def _fitting(array: Array, spec: TensorSpec, shape: tuple[Dim, ...], file: Path) -> Array:
    """Return an array in the input's type, if it has its shape; text becomes an array of ``str`` objects."""
    fits = len(array.shape) == len(shape) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(shape, array.shape, strict=True)
    )
    text = np.dtype(spec.dtype) == np.object_
    if not fits or (array.dtype.kind in "US") != text or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
        raise OptionError(f"{file}: {spec.name} is {array.dtype}{list(array.shape)}, the model takes {spec}")
    if array.dtype.kind == "S":
        array = _decoded(array, spec, file)
    fitted = array.astype(spec.dtype)
    if spec.domain.known and fitted.dtype.kind == "f" and np.isnan(fitted).any():
        raise OptionError(f"{file}: {spec.name} holds NaN")
    return fitted


def _decoded(array: Array, spec: TensorSpec, file: Path) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"{file}: {spec.name} holds text that is not UTF-8") from error
