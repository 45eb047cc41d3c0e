"""Inputs from the user (arrays, images, labels), and random ones if there are none."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients.errors import ClientError
from modelrepo.clients.images import load_image
from modelrepo.generator.errors import ModelRepoError, OptionError, nearest
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, Signature, TensorSpec
from modelrepo.generator.verification import photographs, table_samples
from modelrepo.generator.verification.inputs import FAMILIES, LARGER_SIZES, Pool, make_pool

ARRAYS = (".npy", ".npz")
IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
LABELS_ARRAY = "labels"
# Images are kept as the model's inputs, 0.6 MB each for a ResNet; if they take more than this, some are chosen.
MOST_BYTES = 2 << 30
# With fewer samples, a single unusual one sets the range of every layer.
FEW = 8
# At most this many rows, evenly spaced, are compared number by number; accuracy is measured on all.
COMPARED = 64
# Channels, height and width.
IMAGE_AXES = 3


@dataclass(frozen=True)
class Dataset:
    """Inputs of a model, all in memory.

    A row is a sample, or a whole input set of a model without a batch dimension, as in Pool.
    """

    pools: tuple[Pool, ...]  # one for each set of shapes
    labels: tuple[Array, ...] | None = None  # the classes of the rows, an int64 array for each pool; None: unknown
    notes: tuple[str, ...] = ()  # for the user

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(len(pool.families) for pool in self.pools)

    def parts(self) -> Iterator[tuple[Pool, Array]]:
        """Yield each pool with the labels of its rows; empty labels if the dataset has none."""
        yield from zip(self.pools, self.labels or [np.empty(0, np.int64)] * len(self.pools), strict=True)

    def split(self, share: float, seed: int) -> tuple["Dataset", "Dataset"]:
        """Split off a random ``share`` of the rows, in 0..1; return the rest and the share.

        Both have at least one row; a single row stays in the rest. The same seed chooses the same rows.
        """
        held = min(self.count - 1, max(1, round(share * self.count)))
        chosen = set(np.random.default_rng(seed).permutation(self.count)[:held].tolist())
        return self._numbered(set(range(self.count)) - chosen), self._numbered(chosen)

    @property
    def compared(self) -> tuple[Pool, ...]:
        """The rows that are compared number by number: at most COMPARED, evenly spaced."""
        chosen = np.linspace(0, self.count - 1, min(self.count, COMPARED)).astype(int)
        return self._numbered(set(chosen.tolist())).pools

    def _numbered(self, numbers: Collection[int]) -> "Dataset":
        """Return the rows with these numbers, counted over all pools."""
        starts = dict(zip(map(id, self.pools), accumulate(len(pool.families) for pool in self.pools), strict=True))
        return self.only(lambda pool, row: starts[id(pool)] - len(pool.families) + row in numbers)

    def only(self, wanted: Callable[[Pool, int], bool]) -> "Dataset":
        """Return the rows for which ``wanted(pool, row)`` is true, in order."""
        pools, labels = [], []
        for pool, classes in self.parts():
            own = [row for row in range(len(pool.families)) if wanted(pool, row)]
            if own:
                pools.append(pool.only(own))
                labels.append(classes[own] if self.labels is not None else classes)
        return replace(self, pools=tuple(pools), labels=tuple(labels) if self.labels is not None else None)


NO_DATA = Dataset(())


def read(
    path: Path, signature: Signature, preprocess: Mapping[str, Any] | None = None, labels: Sequence[str] = ()
) -> Dataset:
    """Read arrays (.npz named like the inputs, .npy for a single input) or images: a file, or a folder of them.

    Every array has a leading batch axis, or the shape of one sample; for a model without a common batch dimension a
    file is one whole input set. Optional inputs may be missing; samples of the same shapes come in one pool. The right
    class of a sample is in an integer array ``labels`` of the .npz, one per sample. For an image it is the name of its
    folder, a class of ``labels`` or its index. Images are prepared as ``preprocess`` says; if they would take more than
    MOST_BYTES, evenly spaced ones are chosen. A table is a CSV or Parquet file, with its columns as in
    ``clients.tables.select`` and a column ``labels``. Raises OptionError for data that does not fit the model.
    """
    pictures = _pictures(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [
        each for each in files if each.suffix in ARRAYS or (each == path and each.suffix in table_samples.SUFFIXES)
    ]
    if files and pictures:
        raise OptionError(f"{path} holds both images and arrays", "Keep them in folders of their own")
    if pictures:
        return _read_pictures(path, pictures, signature, preprocess, labels)
    if not files:
        raise OptionError(
            f"{path} holds nothing that can be read as samples",
            f"Give arrays ({', '.join(ARRAYS)}), images, or a folder of images for each class",
        )
    read_files = [_read_file(file, signature, labels) for file in files]
    lacking = [file for file, (_, classes) in zip(files, read_files, strict=True) if classes is None]
    if lacking and len(lacking) < len(files):
        raise OptionError(f"{lacking[0]} has no array {LABELS_ARRAY!r}, but other files of {path} have")
    read_files.sort(key=lambda pair: _row_shapes(pair[0]))
    groups = [list(group) for _, group in groupby(read_files, key=lambda pair: _row_shapes(pair[0]))]
    classes = tuple(np.concatenate([each for _, each in group if each is not None]) for group in groups if not lacking)
    return Dataset(tuple(_joined([pool for pool, _ in group]) for group in groups), classes or None)


def samples(
    path: Path | None, signature: Signature, preprocess: Mapping[str, Any] | None = None, labels: Sequence[str] = ()
) -> Dataset:
    """Return the user's samples, empty without a path; OptionError as in ``read``."""
    return read(path, signature, preprocess, labels) if path else NO_DATA


def as_examples(inputs: tuple[TensorSpec, ...], path: Path) -> tuple[TensorSpec, ...]:
    """Return inputs with the user's samples as their examples; none if they don't fit, which is reported later."""
    signature = Signature(inputs, ())
    try:
        pool = samples(path, signature).compared[0]
    except ModelRepoError:
        return ()
    arrays = pool.arrays if signature.batch_dim is not None else {name: each[0] for name, each in pool.arrays.items()}
    return tuple(replace(spec, example=arrays.get(spec.name)) for spec in inputs)


def check_calibration(data: Dataset, path: Path) -> tuple[str, ...]:
    """Return notes on the quality of calibration data at ``path``; OptionError if it can't calibrate anything."""
    for pool in data.pools:
        for name, array in pool.arrays.items():
            _check_finite(name, array, pool, path)
        _check_differing(pool, path)
    return (f"{path} holds {data.count} samples: reliable ranges need some dozens",) if data.count < FEW else ()


def _check_finite(name: str, array: Array, pool: Pool, path: Path) -> None:
    for row, family in enumerate(pool.families) if array.dtype.kind == "f" else ():
        if not np.isfinite(array[row]).all():
            what = "NaN" if np.isnan(array[row]).any() else "infinity"
            raise OptionError(f"{path}: {name} contains {what} in {family}, which can't set a range")


def _check_differing(pool: Pool, path: Path) -> None:
    """Raise OptionError if all inputs are constant, as a whole or in each channel; one may be, such as a mask."""
    reasons = [_why_poor(name, array) for name, array in pool.arrays.items()]
    if not all(reasons):
        return
    told = ", ".join(filter(None, reasons))
    raise OptionError(
        f"{path}: {told}, which sets no ranges for the layers",
        "Calibrate with real inputs, some dozens or hundreds",
    )


def _why_poor(name: str, array: Array) -> str | None:
    """Return why an array of rows sets no ranges, or None. Images have channels and two axes behind them."""
    if not array.size:
        return f"{name} is empty"
    if (array == array.flat[0]).all():
        return f"{name} is {array.flat[0]} everywhere"
    if len(array) > 1 and (array == array[:1]).all():
        return f"{name} is the same in all {len(array)} samples"
    if array.ndim > IMAGE_AXES and (array == array[..., :1, :1]).all():
        return f"{name} is one colour in every image"
    return None


def random_like(signature: Signature, preprocess: Mapping[str, Any] | None, count: int, seed: int) -> Dataset:
    """Return ``count`` random inputs: images with the statistics of photographs for a model that takes images.

    Other inputs get normal values within their domains; symbolic dimensions are 32. Deterministic for a seed. All are
    in memory: ``count`` times 0.6 MB for float32 images of 224x224.
    """
    lead = 0 if signature.batch_dim is None else 1
    (small, *_) = LARGER_SIZES
    inputs = [replace(spec, shape=("row", *_sized(spec.shape[lead:], small))) for spec in signature.inputs]
    if not _takes_images(signature, preprocess):
        drawn = make_pool(inputs, len(FAMILIES) + count, seed)
        return Dataset((drawn.only(range(len(FAMILIES), len(FAMILIES) + count)),))
    assert preprocess is not None  # noqa: S101 - the model takes images
    height, width = (int(size) for size in preprocess["crop"])
    mean, std = (np.asarray(preprocess[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    images = np.empty((count, 3, height, width), signature.inputs[0].dtype)
    for row in range(count):
        images[row] = (photographs.natural_looking(np.random.default_rng([seed, row]), height, width) - mean) / std
    names = tuple(f"natural-looking {row + 1}" for row in range(count))
    whole = images if lead or preprocess.get("layout") == "CHW" else images[:, np.newaxis]
    return Dataset((Pool({signature.inputs[0].name: whole}, names),))


def _sized(shape: tuple[Dim, ...], size: int) -> tuple[int, ...]:
    return tuple(size if isinstance(dim, str) else dim for dim in shape)


def _takes_images(signature: Signature, preprocess: Mapping[str, Any] | None) -> bool:
    return preprocess is not None and preprocess.get("kind") == "image" and len(signature.inputs) == 1


def _pictures(path: Path) -> list[tuple[Path, Path | None]]:
    """Return the images at ``path``, each with the folder that names its class, or None."""
    if not path.is_dir():
        return [(path, None)] if path.suffix.lower() in IMAGES else []
    found: list[tuple[Path, Path | None]] = []
    for entry in sorted(path.iterdir()):
        inner = sorted(entry.iterdir()) if entry.is_dir() else []
        found += [(file, entry) for file in inner if file.suffix.lower() in IMAGES]
        if entry.is_file() and entry.suffix.lower() in IMAGES:
            found.append((entry, None))
    return found


def _read_pictures(
    path: Path,
    pictures: list[tuple[Path, Path | None]],
    signature: Signature,
    preprocess: Mapping[str, Any] | None,
    labels: Sequence[str],
) -> Dataset:
    if preprocess is None or not _takes_images(signature, preprocess):
        raise OptionError(
            f"{path} holds images, but this model doesn't say how an image becomes an input", "Give .npz or .npy files"
        )
    loose = [file for file, folder in pictures if folder is None]
    if loose and len(loose) < len(pictures):
        raise OptionError(f"{loose[0]} is not in a class folder, but other images of {path} are")
    folders = dict.fromkeys(folder for _, folder in pictures if folder is not None)
    classes = {folder: _class_of(folder, labels, _classes(signature, labels)) for folder in folders}
    first = _read_picture(pictures[0][0], signature, preprocess)
    most = max(1, MOST_BYTES // first.nbytes)
    notes: tuple[str, ...] = ()
    if len(pictures) > most:
        notes = (f"{most} of the {len(pictures)} images in {path} are read, evenly spaced",)
        pictures = [pictures[place] for place in np.linspace(0, len(pictures) - 1, most).astype(int)]
    images = np.empty((len(pictures), *first.shape), first.dtype)
    for row, (file, _) in enumerate(pictures):
        images[row] = _read_picture(file, signature, preprocess)
    pool = Pool({signature.inputs[0].name: images}, tuple(f"sample {file.name}" for file, _ in pictures))
    named = [classes[folder] for _, folder in pictures if folder is not None]
    return Dataset((pool,), (np.array(named, np.int64),) if named else None, notes)


def _read_picture(file: Path, signature: Signature, preprocess: Mapping[str, Any]) -> Array:
    """Return an image as one row: without its batch axis if the model has a batch dimension."""
    (spec,) = signature.inputs
    try:
        image = load_image(file, preprocess)
    except ClientError as error:
        raise OptionError(error.message, error.hint) from error
    fitted = _fitting(image, spec, spec.shape, file)
    return fitted if signature.batch_dim is None else fitted[0]


def _classes(signature: Signature, labels: Sequence[str]) -> int | None:
    """Return a model's number of classes; None if it is unknown."""
    rows = [spec.shape for spec in signature.outputs if len(spec.shape) == 2]
    last = rows[0][1] if rows else None
    return len(labels) or (last if isinstance(last, int) else None)


def _class_of(folder: Path, labels: Sequence[str], classes: int | None) -> int:
    """Return the class that a folder is named after: by name, ignoring case and underscores, or by index."""
    named = [index for index, label in enumerate(labels) if _plain(label) == _plain(folder.name)]
    if len(named) == 1:
        return named[0]
    if named:
        raise OptionError(
            f"{folder}: the classes {' and '.join(map(str, named))} are both named {labels[named[0]]!r}",
            "Name the folder by the index of its class",
        )
    if not folder.name.isdecimal():
        hint = nearest(_plain(folder.name), map(_plain, labels)) if labels else "Name it by the index of its class"
        raise OptionError(f"{folder} is not named after a class of the model", hint)
    if classes is not None and int(folder.name) >= classes:
        raise OptionError(f"{folder} is not a class of the model: it has {classes}, counted from 0")
    return int(folder.name)


def _plain(label: str) -> str:
    return label.replace("_", " ").casefold()


def _read_file(file: Path, signature: Signature, labels: Sequence[str]) -> "tuple[Pool, Array | None]":
    arrays = _read_arrays(file, signature.inputs)
    pool = _read_pool(file, arrays, signature)
    if LABELS_ARRAY not in arrays or LABELS_ARRAY in (spec.name for spec in signature.inputs):
        return pool, None
    found, count = np.atleast_1d(arrays[LABELS_ARRAY]), len(pool.families)
    classes = _classes(signature, labels)
    if found.dtype.kind not in "iu" or found.shape != (count,):
        raise OptionError(
            f"{file}: {LABELS_ARRAY} is {found.dtype}{list(found.shape)}: expected {count} integers, one per sample"
        )
    if found.min() < 0 or (classes is not None and found.max() >= classes):
        wrong = found.min() if found.min() < 0 else found.max()
        counted = f": it has {classes}, counted from 0" if classes is not None else ""
        raise OptionError(f"{file}: {LABELS_ARRAY} contains {wrong}, which is not a class of the model{counted}")
    return pool, found.astype(np.int64)


def _read_pool(file: Path, arrays: Arrays, signature: Signature) -> Pool:
    inputs = [spec for spec in signature.inputs if spec.name in arrays]
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


def _row_shapes(pool: Pool) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape[1:]) for name, array in pool.arrays.items()]


def _joined(pools: list[Pool]) -> Pool:
    arrays = {name: np.concatenate([pool.arrays[name] for pool in pools]) for name in pools[0].arrays}
    return Pool(arrays, tuple(family for pool in pools for family in pool.families))


def _read_arrays(file: Path, inputs: Sequence[TensorSpec]) -> Arrays:
    if file.suffix in table_samples.SUFFIXES:
        return table_samples.read(file, inputs, (LABELS_ARRAY,), MOST_BYTES)
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = {inputs[0].name: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(
            f"can't read samples from {file}: it is not a .npy or .npz file of numbers or text"
        ) from error
    missing = [spec.name for spec in inputs if spec.name not in arrays and not spec.optional]
    if missing:
        raise OptionError(f"{file} has no input {missing[0]!r}", f"It holds {', '.join(arrays) or 'nothing'}")
    return arrays


def _fitting(array: Array, spec: TensorSpec, shape: tuple[Dim, ...], file: Path) -> Array:
    """Return an array in the input's type, if its shape fits; text becomes an array of ``str`` objects."""
    fits = len(array.shape) == len(shape) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(shape, array.shape, strict=True)
    )
    text = np.dtype(spec.dtype) == np.object_
    if not fits or (array.dtype.kind in "US") != text or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
        raise OptionError(f"{file}: {spec.name} is {array.dtype}{list(array.shape)}, but the model takes {spec}")
    if array.dtype.kind == "S":
        array = _decoded(array, spec, file)
    fitted = array.astype(spec.dtype)
    if spec.domain.known and fitted.dtype.kind == "f" and np.isnan(fitted).any():
        raise OptionError(f"{file}: {spec.name} contains NaN")
    return fitted


def _decoded(array: Array, spec: TensorSpec, file: Path) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"{file}: {spec.name} contains text that is not UTF-8") from error
