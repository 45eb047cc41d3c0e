"""What a model is asked for verification: generated inputs of several families, and the user's own samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.errors import OptionError, VerificationError
from generator.specs import Array, Arrays, TensorSpec

ODD_BATCH = 3


@dataclass(frozen=True)
class Pool:
    """Inputs to choose batches from: named arrays that share their leading axis, and the family of each row."""

    arrays: Arrays
    families: tuple[str, ...]

    def rows(self, indices: Sequence[int]) -> Arrays:
        """Return one batch made of these rows, in this order."""
        return {name: np.ascontiguousarray(array[list(indices)]) for name, array in self.arrays.items()}


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
    """Return at least one row of each input family, filled up to ``size`` rows with further random ones."""
    more = max(0, size - len(FAMILIES))
    names = (*FAMILIES, *(f"random {number}" for number in range(len(RANDOM) + 1, len(RANDOM) + 1 + more)))
    arrays = {}
    for position, spec in enumerate(inputs):
        sizes = tuple(dim for dim in spec.shape[1:] if isinstance(dim, int))
        if len(sizes) != len(spec.shape) - 1:
            raise VerificationError(f"input {spec} has more than one dynamic dimension", "Fix it with --input-shape")
        random = np.random.default_rng([seed, position])
        arrays[spec.name] = np.empty((len(names), *sizes), spec.dtype)
        for row, name in enumerate(names):
            arrays[spec.name][row] = _into_domain(FAMILIES.get(name, _normal)(random, sizes), spec)
    return Pool(arrays, names)


def _into_domain(values: Array, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype == np.bool_:
        return values > 0
    low, high = spec.domain.low, spec.domain.high
    if np.issubdtype(dtype, np.integer):
        low, high = (0 if low is None else low), (1 if high is None else high)
        values = np.round(values * max(1.0, high / 3))  # so that normal values reach most of a vocabulary
    return np.clip(values, low, high).astype(dtype)


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the batch sizes to compare at: 1, 2, an odd one and the largest."""
    return tuple(sorted({size for size in (1, 2, ODD_BATCH, max_batch_size) if 1 <= size <= max(1, max_batch_size)}))


def load_samples(path: Path, inputs: Sequence[TensorSpec]) -> Pool:
    """Read the user's samples: a .npz of arrays named like the inputs, a .npy for a single input, or a folder of them.

    Every array has a leading batch axis, or the shape of one sample. Raises OptionError for one that does not fit.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in (".npy", ".npz")]
    if not files:
        raise OptionError(f"{path} holds no .npz or .npy samples")
    parts = [_fitting(_read_arrays(file, inputs), inputs, file) for file in files]
    arrays = {spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in inputs}
    families = (f"sample {file.name}" for file, part in zip(files, parts, strict=True) for _ in _any_of(part))
    return Pool(arrays, tuple(families))


def _any_of(arrays: Arrays) -> Array:
    return next(iter(arrays.values()))


def _read_arrays(file: Path, inputs: Sequence[TensorSpec]) -> Arrays:
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = {inputs[0].name: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read samples from {file}: it is no .npy or .npz file of numbers") from error
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise OptionError(f"{file} lacks the input {missing[0]!r}", f"It holds {', '.join(arrays) or 'nothing'}")
    return arrays


def _fitting(arrays: Arrays, inputs: Sequence[TensorSpec], file: Path) -> dict[str, Array]:
    fitted = {}
    for spec in inputs:
        array = arrays[spec.name]
        if array.shape == spec.shape[1:]:
            array = array[np.newaxis]
        if array.shape[1:] != spec.shape[1:] or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
            raise OptionError(f"{file}: {spec.name} is {array.dtype}{list(array.shape)}, the model takes {spec}")
        fitted[spec.name] = array.astype(spec.dtype)
        if np.isnan(fitted[spec.name]).any():
            raise OptionError(f"{file}: {spec.name} holds NaN")
    if len({len(array) for array in fitted.values()}) != 1 or not len(_any_of(fitted)):
        raise OptionError(f"{file}: the inputs do not have the same number of samples, at least one")
    return fitted
