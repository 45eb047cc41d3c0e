"""Inputs from the user (arrays, images, labels), and random ones if there are none."""

import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from modelrepo.clients import tables
from modelrepo.clients.errors import ClientError
from modelrepo.clients.images import load_image, load_pixels
from modelrepo.generator.errors import ModelRepoError, OptionError, nearest
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, Signature, TensorSpec
from modelrepo.generator.system.extras import TABLES, require
from modelrepo.generator.verification import labelled, photographs, table_samples
from modelrepo.generator.verification.inputs import FAMILIES, LARGER_SIZES, Pool, make_pool

ARRAYS = (".npy", ".npz")
IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
LABELS_ARRAY = labelled.NAMES[0]
UNNAMED = "Name it by the index of its class, or name the classes with --labels FILE"
NO_LABELS = "there are no labels: they are called label, labels, y or target, or as --label-column NAME says"
# What numpy says of an array that only pickle reads.
OBJECTS = "allow_pickle"
# Images are kept as the model's inputs, 0.6 MB each for a ResNet; if they take more than this, some are chosen.
MOST_BYTES = 2 << 30
# With fewer samples, a single unusual one sets the range of every layer.
FEW = 8
# At most this many rows, evenly spaced, are compared number by number; accuracy is measured on all.
COMPARED = 64
# The kind of a preparation by the model itself, and the height and width of a usual picture.
PIXELS, PICTURE = "pixels", (375, 500)
# Channels, height and width.
IMAGE_AXES = 3
# The orders of an image's axes that are mistaken for each other, and the order that makes the other one.
TRANSPOSED = {"NHWC": (0, 3, 1, 2), "NCHW": (0, 2, 3, 1), "HWC": (2, 0, 1), "CHW": (1, 2, 0)}


@dataclass(frozen=True)
class Dataset:
    """Inputs of a model, all in memory.

    A row is a sample, or a whole input set of a model without a batch dimension, as in Pool.
    """

    pools: tuple[Pool, ...]  # one for each set of shapes
    labels: tuple[Array, ...] | None = None  # the classes of the rows, an int64 array for each pool; None: unknown
    notes: tuple[str, ...] = ()  # for the user
    classes: tuple[str, ...] = ()  # of the labels, as an output calls them that answers a class; none: by number
    taken: str = ""  # which arrays were taken as what, if they have other names

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


def told(data: Dataset, path: Path | None, measured: int, *, compared: bool = True) -> str:
    """Return in words what was done with the user's samples; empty without any.

    ``measured`` is on how many of them accuracy was, and ``compared`` whether they were compared number by number.
    """
    if not data.count or path is None:
        return ""
    taken = f" ({data.taken})" if data.taken else ""
    count = f"{data.count} sample{'s' if data.count > 1 else ''} of {path.name or path}{taken}"
    numbers = "all" if data.count <= COMPARED else str(COMPARED)
    if not compared:
        return f"{count}: not compared, because of --no-verify"
    labels = f", accuracy measured on {'all' if measured == data.count else measured}" if measured else ""
    return f"{count}: {numbers} compared number by number{labels}"


def read(
    path: Path,
    signature: Signature,
    preprocess: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    own: Sequence[str] = (),
    column: str = "",
) -> Dataset:
    """Read arrays (.npz named like the inputs, .npy for a single input) or images: a file, or a folder of them.

    Every array has a leading batch axis, or the shape of one sample; for a model without a common batch dimension a
    file is one whole input set, or several that lie one after another. Optional inputs may be missing; samples of the
    same shapes come in one pool. The only input may have any name if there is no other array but the labels. These are
    numbers or names of classes, one per sample, in the array ``column``, or as data sets usually call it; ``own`` are
    the names that the source itself has for the classes ``labels``. The label of an image is its folder. Images are
    prepared as ``preprocess`` says; if they would take more than MOST_BYTES, evenly spaced ones are chosen. A table is
    a CSV or Parquet file, with its columns as in ``clients.tables.select``; ``preprocess`` may say which a matrix was
    fitted on. Raises OptionError for data that does not fit the model.
    """
    classes = labelled.classes_of(signature, labels, own)
    pictures, files = found_at(path)
    if pictures:
        return _read_pictures(path, pictures, signature, preprocess, classes)
    given = _paired(files, signature) or [_read_file(file, signature, preprocess, column) for file in files]
    given.sort(key=lambda each: _row_shapes(each.pool))
    groups = [[each.pool for each in group] for _, group in groupby(given, key=lambda each: _row_shapes(each.pool))]
    cautions = tuple(dict.fromkeys(caution for each in given for caution in each.cautions))
    data = Dataset(tuple(_joined(group) for group in groups), notes=cautions, taken=given[0].taken)
    lacking = next((each.file for each in given if each.labels is None), None)
    if lacking and any(each.labels is not None for each in given):
        raise OptionError(f"{lacking} has no array {LABELS_ARRAY!r}, but other files of {path} have")
    return data if lacking else _labelled(data, given, classes, path, column)


def found_at(path: Path) -> "tuple[list[tuple[Path, Path | None]], list[Path]]":
    """Return the images at ``path``, each with the folder that names its class or None, or else the files of arrays.

    Raises OptionError if there are neither, or both.
    """
    pictures = _pictures(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [each for each in files if each.suffix in ARRAYS or (each == path and tables.is_table(each))]
    if files and pictures:
        raise OptionError(f"{path} holds both images and arrays", "Keep them in folders of their own")
    if not pictures and not files:
        raise OptionError(
            f"{path} holds nothing that can be read as samples",
            f"Give arrays ({', '.join(ARRAYS)}), a table ({', '.join(tables.SUFFIXES)}), images, or a folder of "
            "images for each class",
        )
    loose = [file for file, folder in pictures if folder is None]
    if loose and len(loose) < len(pictures):
        raise OptionError(f"{loose[0]} is not in a class folder, but other images of {path} are")
    return pictures, files


@dataclass(frozen=True)
class _Given:
    """The content of one file of arrays, and which of them was taken as what if they have other names."""

    file: Path
    pool: Pool
    labels: "Array | None"  # as they are written
    name: str = ""  # of the array with the labels
    taken: str = ""  # the array of the only input
    cautions: tuple[str, ...] = ()


def _labelled(data: Dataset, given: Sequence[_Given], classes: labelled.Classes, path: Path, column: str) -> Dataset:
    """Return data with the classes of its labels, or with a note that says why these can't be used."""
    where = f"{given[0].file if len(given) == 1 else path}: {given[0].name}"
    try:
        each = [
            labelled.one_each(one.labels, len(one.pool.families), classes, f"{one.file}: {one.name}")
            for one in given
            if one.labels is not None
        ]
        numbers, called = labelled.numbered(np.concatenate(each), classes, where)
    except (labelled.Unusable, OptionError) as error:
        # Of another array, and of a model that names no classes, it is not certain that they are meant as classes.
        if isinstance(error, OptionError) and (classes.called or given[0].name in (LABELS_ARRAY, column)):
            raise
        return replace(data, notes=(*data.notes, f"the labels of {path} ({given[0].name}) are not used: {error}"))
    ends = [*accumulate(len(pool.families) for pool in data.pools)]
    taken = [data.taken, "" if given[0].name == LABELS_ARRAY else f"{given[0].name} as the labels"]
    split = tuple(np.split(numbers, ends[:-1]))
    return replace(data, labels=split, classes=called, taken=", ".join(filter(None, taken)))


def samples(
    path: Path | None,
    signature: Signature,
    preprocess: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    own: Sequence[str] = (),
    column: str = "",
) -> Dataset:
    """Return the user's samples, empty without a path; OptionError as in ``read``."""
    return read(path, signature, preprocess, labels, own, column) if path else NO_DATA


def check(path: Path, column: str = "") -> None:
    """Raise OptionError for a path that can't be read as samples, whatever the model takes; only headers are read.

    Also for one without the ``column`` that names its labels.
    """
    pictures, files = found_at(path)
    if column and pictures:
        raise OptionError(
            f"--label-column {column} names no array: {path} holds images", "Their folders are the labels"
        )
    for file in files:
        if file.suffix == ".parquet":
            require(TABLES)
        if column:
            _check_has(file, column)
        if file.suffix in (".npy", ".npz"):
            with _reading(file):
                _check_headers(file)


def _check_has(file: Path, column: str) -> None:
    """Raise OptionError for a file without an array or a column that the user names."""
    if file.suffix in ARRAYS:
        names = list(load(file, "")) if file.suffix == ".npz" else []
    else:
        try:
            names = list(tables.open_table(file, [column]).names)
        except ClientError as error:
            raise OptionError(error.message, error.hint) from error
    if column not in names:
        hint = nearest(column, filter(None, names)) if names else "Save the labels beside the samples, in a .npz"
        raise OptionError(f"--label-column {column}: {file} has no such column or array", hint)


def _check_headers(file: Path) -> None:
    with file.open("rb") as opened:
        if not zipfile.is_zipfile(opened):
            opened.seek(0)
            if _header(opened) > file.stat().st_size - opened.tell():
                raise ValueError("it is cut off")
            return
        with zipfile.ZipFile(opened) as archive:
            for member in archive.namelist():
                if member.endswith(".npy"):
                    with archive.open(member) as array:
                        _header(array)


def _header(opened: IO[bytes]) -> int:
    """Return the size of the array that follows, in bytes; ValueError if it can't be read without running code."""
    old = np.lib.format.read_magic(opened) == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(opened)
    if dtype.hasobject:
        raise ValueError(OBJECTS)
    return prod(shape) * int(dtype.itemsize)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn every error of a file that does not hold arrays into OptionError: numpy, zipfile and zlib have their own."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise OptionError(f"can't read samples from {file}: {error.strerror}") from error
        if OBJECTS in str(error):
            raise OptionError(
                f"can't read samples from {file}: an array in it holds Python objects, which may run code",
                "Save numbers or text, such as array.astype(str), in rows of one length",
            ) from error
        raise OptionError(
            f"can't read samples from {file}: it is not a .npy or .npz file of numbers or text"
        ) from error


def as_examples(inputs: tuple[TensorSpec, ...], path: Path, column: str = "") -> tuple[TensorSpec, ...]:
    """Return inputs with the user's samples as their examples; none if they don't fit, which is reported later."""
    signature = Signature(inputs, ())
    try:
        pool = samples(path, signature, column=column).compared[0]
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
    if _takes_pixels(signature, preprocess):
        return _random_pixels(signature.inputs[0], count, seed)
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


def _random_pixels(spec: TensorSpec, count: int, seed: int) -> Dataset:
    """Return random pictures like photographs, UINT8, of the sizes that the model takes, or of a usual one."""
    usual = dict(zip(spec.shape[-3:-1], PICTURE, strict=True))
    height, width = (usual[dim] if isinstance(dim, str) else dim for dim in spec.shape[-3:-1])
    pictures = np.empty((count, height, width, 3), np.uint8)
    for row in range(count):
        planes = photographs.natural_looking(np.random.default_rng([seed, row]), height, width)
        pictures[row] = np.round(planes.transpose(1, 2, 0) * 255)
    return Dataset((Pool({spec.name: pictures}, tuple(f"natural-looking {row + 1}" for row in range(count))),))


def _takes_pixels(signature: Signature, preprocess: Mapping[str, Any] | None) -> bool:
    return preprocess is not None and preprocess.get("kind") == PIXELS and len(signature.inputs) == 1


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
    known: labelled.Classes,
) -> Dataset:
    if _takes_pixels(signature, preprocess):
        return _read_pixels(pictures, signature.inputs[0], known)
    if preprocess is None or not _takes_images(signature, preprocess):
        raise OptionError(
            f"{path} holds images, but this model doesn't say how an image becomes an input", "Give .npz or .npy files"
        )
    folders = dict.fromkeys(folder for _, folder in pictures if folder is not None)
    classes = {folder: _class_of(folder, known) for folder in folders}
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
    return Dataset((pool,), (np.array(named, np.int64),) if named else None, notes, known.called)


def _read_pixels(pictures: list[tuple[Path, Path | None]], spec: TensorSpec, known: labelled.Classes) -> Dataset:
    """Return pictures as they are, in a pool for each size."""
    classes = {folder: _class_of(folder, known) for _, folder in pictures if folder is not None}
    by_size: dict[tuple[int, ...], list[tuple[Array, Path, Path | None]]] = {}
    taken = 0
    for file, folder in pictures:
        try:
            pixels = load_pixels(file)
        except ClientError as error:
            raise OptionError(error.message, error.hint) from error
        taken += pixels.nbytes
        if taken > MOST_BYTES:
            break
        _fitting(pixels[np.newaxis], spec, spec.shape, file)
        by_size.setdefault(pixels.shape, []).append((pixels, file, folder))
    groups = [*by_size.values()]
    read = sum(map(len, groups))
    notes = (
        () if read == len(pictures) else (f"{read} of the {len(pictures)} images are read: the others are too large",)
    )
    pools = tuple(
        Pool(
            {spec.name: np.stack([each for each, _, _ in group])}, tuple(f"sample {file.name}" for _, file, _ in group)
        )
        for group in groups
    )
    labels = tuple(np.array([classes[each] for _, _, each in group if each is not None], np.int64) for group in groups)
    return Dataset(pools, labels if classes else None, notes, known.called)


def _read_picture(file: Path, signature: Signature, preprocess: Mapping[str, Any]) -> Array:
    """Return an image as one row: without its batch axis if the model has a batch dimension."""
    (spec,) = signature.inputs
    try:
        image = load_image(file, preprocess)
    except ClientError as error:
        raise OptionError(error.message, error.hint) from error
    fitted = _fitting(image, spec, spec.shape, file)
    return fitted if signature.batch_dim is None else fitted[0]


def _class_of(folder: Path, classes: labelled.Classes) -> int:
    """Return the class that a folder is named after: by name, ignoring case and underscores, or by index."""
    for names in (classes.own, classes.names):
        place = labelled.named(folder.name, names, str(folder))
        if place is not None:
            return place
    if not folder.name.isdecimal():
        known = (*classes.names, *classes.own)
        hint = nearest(labelled.plain(folder.name), known) if known else UNNAMED
        raise OptionError(f"{folder} is not named after a class of the model", hint)
    if classes.count is not None and int(folder.name) >= classes.count:
        raise OptionError(f"{folder} is not a class of the model: it has {classes.count}, counted from 0")
    return int(folder.name)


def _paired(files: Sequence[Path], signature: Signature) -> list[_Given]:
    """Return the samples of a folder of two .npy files, one of them named as labels are; none for other files."""
    labels = [file for file in files if file.suffix == ".npy" and file.stem.lower() in labelled.NAMES]
    inputs = [file for file in files if file.suffix == ".npy" and file not in labels]
    if len(files) != 2 or len(labels) != 1 or len(inputs) != 1:
        return []
    pool = _read_file(inputs[0], signature, None, "").pool
    found = next(iter(load(labels[0], LABELS_ARRAY).values()))
    return [_Given(inputs[0], pool, found, labels[0].name)]


def _read_file(file: Path, signature: Signature, preprocess: Mapping[str, Any] | None, column: str) -> _Given:
    arrays, columns, cautions = _read_arrays(file, signature.inputs, preprocess, column)
    names = [spec.name for spec in signature.inputs]
    name = labelled.labels_among(arrays, names, column)
    if name in names:
        raise OptionError(f"--label-column {name} names an input of the model, which can't be its labels")
    taken = ""
    if len(names) == 1 and names[0] not in arrays:
        others = [each for each in arrays if each != name]
        if len(others) != 1:
            raise OptionError(
                f"{file} has no input {names[0]!r}",
                f"It holds {', '.join(arrays) or 'nothing'}: name the samples {names[0]!r}, and their classes 'labels'",
            )
        taken = f"{others[0]} as the input {names[0]!r}"
        arrays = {names[0]: arrays[others[0]], **({name: arrays[name]} if name else {})}
    missing = [spec.name for spec in signature.inputs if spec.name not in arrays and not spec.optional]
    if missing:
        raise OptionError(f"{file} has no input {missing[0]!r}", f"It holds {', '.join(arrays) or 'nothing'}")
    left = [*(each for each in arrays if each not in (*names, name)), *columns]
    unused = tables.listed(left)
    try:
        pool = _read_pool(file, arrays, signature)
        if unused:
            cautions = (
                *cautions,
                f"{file}: {unused} {tables.are(left)} not used{'' if name else f', and {NO_LABELS}'}",
            )
        return _Given(file, pool, arrays.get(name), name, taken or (unused and f"without {unused}"), cautions)
    except OptionError as error:
        raise OptionError(f"{error.message} ({taken})" if taken else error.message, error.hint) from error


def _read_pool(file: Path, arrays: Arrays, signature: Signature) -> Pool:
    inputs = [spec for spec in signature.inputs if spec.name in arrays]
    if signature.batch_dim is None:
        return _sets(file, arrays, inputs)
    fitted = {}
    for spec in inputs:
        array = arrays[spec.name]
        single = _fits(array.shape, spec.shape[1:])
        fitted[spec.name] = _fitting(array[np.newaxis] if single else array, spec, spec.shape, file)
    counts = {len(array) for array in fitted.values()}
    if len(counts) != 1 or 0 in counts:
        raise OptionError(f"{file}: the inputs do not have the same number of samples, at least one")
    return Pool(fitted, (f"sample {file.name}",) * counts.pop())


def _sets(file: Path, arrays: Arrays, inputs: Sequence[TensorSpec]) -> Pool:
    """Return the set of inputs in a file, or several sets that lie one after another, also in place of a batch of 1."""
    whole = {spec.name: arrays[spec.name] for spec in inputs}
    if not all(_fits(whole[spec.name].shape, spec.shape) for spec in inputs):
        parts = [_parts(whole[spec.name], spec.shape) for spec in inputs]
        counts = {len(each) for each in parts}
        if len(counts) == 1 and counts != {0}:
            sets = {
                spec.name: np.stack([_fitting(one, spec, spec.shape, file) for one in each])
                for spec, each in zip(inputs, parts, strict=True)
            }
            return Pool(sets, (f"sample {file.name}",) * counts.pop())
    fitted = {spec.name: _fitting(whole[spec.name], spec, spec.shape, file)[np.newaxis] for spec in inputs}
    return Pool(fitted, (f"sample {file.name}",))


def _parts(array: Array, shape: tuple[Dim, ...]) -> Sequence[Array]:
    """Return the parts of an array along its first axis that each have the shape of an input; none if they have not."""
    if _fits(array.shape[1:], shape) and array.ndim:
        return list(array)
    if shape[:1] == (1,) and _fits((1, *array.shape[1:]), shape):
        return list(array[:, np.newaxis])
    return []


def _row_shapes(pool: Pool) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape[1:]) for name, array in pool.arrays.items()]


def _joined(pools: list[Pool]) -> Pool:
    arrays = {name: np.concatenate([pool.arrays[name] for pool in pools]) for name in pools[0].arrays}
    return Pool(arrays, tuple(family for pool in pools for family in pool.families))


def _read_arrays(
    file: Path, inputs: Sequence[TensorSpec], preprocess: Mapping[str, Any] | None, column: str
) -> tuple[Arrays, tuple[str, ...], tuple[str, ...]]:
    """Return the arrays of a file by name, the columns of a table that are not used, and warnings for the user.

    The array of a .npy has the name of the first input.
    """
    if file.suffix not in ARRAYS:
        known = preprocess if preprocess and preprocess.get("kind") == "table" else {}
        return table_samples.read(file, inputs, column, MOST_BYTES, known)
    return load(file, inputs[0].name), (), ()


def load(file: Path, name: str) -> Arrays:
    """Return the arrays of a .npz by name, or that of a .npy as ``name``; OptionError for a file without arrays."""
    with _reading(file), file.open("rb") as opened:
        loaded = np.load(opened, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {name: loaded}
        arrays = {each: array for each, array in loaded.items() if isinstance(array, np.ndarray)}
        if not arrays and loaded.files:  # another kind of archive
            raise ValueError("it holds no arrays")
        return arrays


def _fitting(array: Array, spec: TensorSpec, shape: tuple[Dim, ...], file: Path) -> Array:
    """Return an array in the input's type, if its shape fits; text becomes an array of ``str`` objects."""
    text = np.dtype(spec.dtype) == np.object_
    if not _fits(array.shape, shape) or (array.dtype.kind in "US") != text or not _castable(array, spec.dtype):
        fits = _fits(array.shape, shape)
        taken = f"{spec} of {'text' if text else spec.dtype}" if fits else str(spec)
        hint = _typing(array, spec.dtype) if fits else _reshaping(array.shape, shape)
        raise OptionError(f"{file}: {spec.name} is {array.dtype}{list(array.shape)}, but the model takes {taken}", hint)
    if array.dtype.kind == "S":
        array = _decoded(array, spec, file)
    fitted = array.astype(spec.dtype)
    if spec.domain.known and fitted.dtype.kind == "f" and np.isnan(fitted).any():
        raise OptionError(f"{file}: {spec.name} contains NaN")
    return fitted


def _fits(given: Sequence[int], shape: Sequence[Dim]) -> bool:
    return len(given) == len(shape) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(shape, given, strict=True)
    )


def _castable(array: Array, dtype: str) -> bool:
    """Whether numbers keep their kind; whole numbers may have another size if all values fit."""
    if np.can_cast(array.dtype, dtype, "same_kind"):
        return True
    whole = array.dtype.kind in "iu" and np.dtype(dtype).kind in "iu"
    return whole and bool((array.astype(dtype) == array).all())


def _reshaping(given: Sequence[int], shape: Sequence[Dim]) -> str:
    """Return how samples of another shape most likely fit the model's; empty if nothing is likely."""
    if not given or not shape:
        return ""
    for name, order in TRANSPOSED.items():
        if len(given) == len(order) and _fits([given[axis] for axis in order], shape):
            return f"It seems to be {name}: array.transpose{order} has the model's order"
    inner = [dim for dim in shape[1:] if isinstance(dim, int)]
    if isinstance(shape[0], str) and len(inner) == len(shape) - 1 and prod(given[1:]) == prod(inner):
        return f"It has as many numbers a sample: array.reshape{(-1, *inner)} has the model's shape"
    return ""


def _typing(array: Array, dtype: str) -> str:
    """Return how values of another type most likely become the model's; empty if nothing is likely."""
    if np.dtype(dtype) == np.object_ and array.dtype.kind not in "US":
        return "Save it as text, such as with .astype(str)"
    return (
        f"If its values are whole numbers, save array.astype({dtype!r})"
        if array.dtype.kind == "f" and np.dtype(dtype).kind in "iu"
        else ""
    )


def _decoded(array: Array, spec: TensorSpec, file: Path) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"{file}: {spec.name} contains text that is not UTF-8") from error
