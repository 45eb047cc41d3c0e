"""The samples that `modelrepo infer` asks about: values, arrays and tables of any length, split into requests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients.batches import split
from modelrepo.clients.cells import Cells
from modelrepo.clients.inputs import Inputs, by_name
from modelrepo.clients.models import Array, Model, Tensor
from modelrepo.clients.tables import SUFFIXES, Selection, TooManyColumns, is_table, open_table, select
from modelrepo.generator.errors import OptionError
from modelrepo.generator.verification.labelled import labels_among

ARRAYS = (".npy", ".npz")
# Larger files are read as they are needed.
MAPPED_BYTES = 32 << 20
# Adds labels, with the words for the place of each.
AddLabels = Callable[[Cells, Callable[[int], str]], None]


@dataclass(frozen=True)
class Part:
    """The inputs of one request, their number of rows, and their place in words; no place if there is no other part."""

    inputs: Inputs
    rows: int = 1
    place: str = ""


@dataclass(frozen=True)
class Samples:
    """The samples from one source: how many rows, the requests for them, and notes and warnings for the user.

    ``names`` are those of the rows, if they have any.
    ``apart``: each request is one row without its axis, because the model does not batch. ``labelled``: the labels are
    among the samples.
    """

    rows: int
    parts: Callable[[], Iterator[Part]]
    apart: bool = False
    labelled: bool = False
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def of_values(model: Model, inputs: Inputs, name: str = "") -> Samples:
    """Return given inputs as one request, or as several if there are more rows than the model takes at once.

    A model that does not batch is asked row by row if every array has one axis more than the model takes.
    """
    values = by_name(model, inputs)
    arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
    axes = {tensor.name: len(tensor.dims) + (not model.max_batch_size) for tensor in model.inputs}
    long = {len(array) for key, array in arrays.items() if array.ndim == axes[key]}
    whole = len(arrays) == len(values) and all(array.ndim == axes[key] for key, array in arrays.items())
    if not whole or len(long) != 1 or max(long) <= (model.max_batch_size or 0):
        together = max(long or _lengths(model, arrays), default=1)
        return Samples(together, lambda: iter([Part(inputs, together)]))
    (rows,) = long
    size = model.max_batch_size or 1

    def parts() -> Iterator[Part]:
        for number, request in enumerate(split(model, arrays, None, 1)):
            first = number * size + 1
            last = min(rows, first + size - 1)
            yield Part(request, last - first + 1, f"{name}{', ' if name else ''}{span('row', first, last)}")

    return Samples(rows, parts, apart=not model.max_batch_size)


def _lengths(model: Model, arrays: Mapping[str, Array]) -> set[int]:
    """Return the numbers of rows that a model which does not batch takes as one request."""
    free = [tensor for tensor in model.inputs if len(tensor.dims) > 1 and tensor.dims[0] == -1]
    return {len(arrays[each.name]) for each in free if each.name in arrays and arrays[each.name].ndim == len(each.dims)}


def counted(rows: int) -> str:
    """Return a number of rows in words."""
    return f"{rows:,} row{'s' * (rows != 1)}"


def span(unit: str, first: int, last: int) -> str:
    """Return a range of rows or lines in words."""
    return f"{unit} {first}" if first == last else f"{unit}s {first} to {last}"


@dataclass(frozen=True)
class Fitted:
    """What is known of the table that a model was fitted on.

    ``columns`` are its columns, in order, if they are known. ``missing`` are the inputs of texts that the model knows
    missing values of, apart from every text that can be sent, each with the text that the model itself fills in, empty
    if there is none; None if nothing says so.
    """

    columns: tuple[str, ...] = ()
    missing: Mapping[str, str] | None = None


UNKNOWN = Fitted()


def of_file(
    path: Path,
    model: Model,
    labels: str | None,
    columns: Sequence[str],
    fitted: Fitted,
    add_labels: AddLabels,
) -> Samples:
    """Return the samples of a .npy, .npz, CSV or Parquet file; its own ``labels`` go to ``add_labels``.

    ``columns`` are as in ``clients.tables.select``. A table is read to its end, so that what does not
    fit is known before anything is asked. Raises InputError or OptionError for a file that does not fit the model.
    """
    if is_table(path):
        table = open_table(path, [*(tensor.name for tensor in model.inputs), *fitted.columns])
        own = labels if labels in table.names else None
        try:
            selection = select(table, model, own, columns, fitted.columns)
        except TooManyColumns as error:
            which = "" if own else "Say which has the labels with --labels NAME, or "
            hint = f"{which}name those to take with --columns NAME,NAME,…"
            raise OptionError(error.message, hint[0].upper() + hint[1:]) from error
        return _of_table(selection, fitted.missing, add_labels)
    if columns:
        raise OptionError(f"--columns is for tables, and {path} is not one", "Leave it out")
    if path.suffix not in ARRAYS:
        raise OptionError(
            f"can't ask about {path}: its name is not that of a test set",
            f"Arrays end in {', '.join(ARRAYS)}, tables in {', '.join(SUFFIXES)}",
        )
    loaded = load(path)
    if isinstance(loaded, np.ndarray):
        loaded = {model.inputs[0].name if len(model.inputs) == 1 else "": loaded}
        if "" in loaded:
            return of_values(model, loaded[""])  # which is refused, with the inputs
    return _of_arrays(path, loaded, model, labels, add_labels)


def _of_arrays(
    path: Path, arrays: Mapping[str, Array], model: Model, labels: str | None, add_labels: AddLabels
) -> Samples:
    names = [tensor.name for tensor in model.inputs]
    own = labels if labels in arrays and labels not in names else None
    spare = own or labels_among(arrays, names)
    given = {name: array for name, array in arrays.items() if name != spare}
    notes = [f"the array {spare} of {path} is not used: measure with --labels {spare}"] if spare and not own else []
    if len(given) == len(names) == 1 and names[0] not in given:
        ((taken, array),) = given.items()
        given = {names[0]: array}
        notes.append(f"{path}: {taken} is taken as the input {names[0]!r}")
    tensors = {tensor.name: tensor for tensor in model.inputs}
    given = {name: _column(array, tensors.get(name)) for name, array in given.items()}
    if any(array.ndim and not len(array) for array in given.values()):
        raise OptionError(f"{path} has no rows")
    samples = of_values(model, given, str(path))
    if own:
        add_labels(arrays[own], lambda row: f"{path}, row {row + 1}: {own}")
    return Samples(samples.rows, samples.parts, samples.apart, own is not None, tuple(notes))


def _column(array: Array, tensor: Tensor | None) -> Array:
    """Return an array of single values with the axis that the model has for them."""
    single = tensor is not None and len(tensor.dims) == 2 and tensor.dims[-1] == 1 and array.ndim == 1
    return array[:, np.newaxis] if single else array


def _of_table(selection: Selection, missing: Mapping[str, str] | None, add_labels: AddLabels) -> Samples:
    rows, path, unit, model = 0, selection.table.path, selection.table.unit, selection.model
    empty: dict[str, int] = {}
    for arrays, labels, places in selection.chunks():
        for name, array in arrays.items():
            holes = (array.reshape(len(places), -1) == b"").any(axis=1) if array.dtype == object else np.zeros(0, bool)
            if missing and name in missing and holes.any():
                raise _refused_text(f"{path}, {unit} {places[int(holes.argmax())]}", name, missing[name])
            empty[name] = empty.get(name, 0) + int(holes.sum())
        if labels is not None:
            add_labels(labels, lambda row, at=places: f"{path}, {unit} {at[row]}: {selection.labels}")  # type: ignore[misc]
        rows += len(places)
    if not rows:
        raise OptionError(f"{path} has no rows" + (" below its header" if selection.table.has_header else ""))
    size = max(1, model.max_batch_size)

    def parts() -> Iterator[Part]:
        for arrays, _, places in selection.chunks():
            for start in range(0, len(places), size):
                own = places[start : start + size]
                place = f"{path}, {span(unit, own[0], own[-1])}"
                batch = {name: array[start : start + size] for name, array in arrays.items()}
                one = {name: array[0] for name, array in batch.items()}
                yield Part(batch if model.max_batch_size else one, len(own), place)

    told = tuple(
        f"{path}: {name} has {count:,} empty cell{'s' * (count != 1)}: sent as empty text, not as a missing value"
        for name, count in empty.items()
        if count
    )
    notes, cautions = selection.notes, selection.cautions
    notes, cautions = (notes, (*cautions, *told)) if missing is None else ((*notes, *told), cautions)
    return Samples(rows, parts, not model.max_batch_size, selection.labels is not None, notes, cautions)


def _refused_text(place: str, name: str, filled_in: str) -> OptionError:
    known = f"{filled_in!r}, as the model itself fills it in" if filled_in else "a text that the model knows"
    return OptionError(
        f"{place}: {name} is empty; the model knows what to do without, but Triton can't send a missing text",
        f"Write {known}, or leave the row out",
    )


def load(path: Path) -> Any:
    """Return the array of a .npy file, mapped if it is large, or the arrays of a .npz file by name; OptionError."""
    try:
        with path.open("rb") as file:
            mapped = path.suffix == ".npy" and path.stat().st_size > MAPPED_BYTES
            loaded = np.load(path if mapped else file, "r" if mapped else None, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            arrays = {name: array for name, array in loaded.items() if isinstance(array, np.ndarray)}
            if not arrays and loaded.files:  # another kind of archive
                raise ValueError("it holds no arrays")
            return arrays
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror or error}") from error
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise OptionError(f"can't read {path}: it is not a .npy or .npz file of numbers") from error
        raise OptionError(f"can't read {path}: it holds Python objects", "Save texts with .astype(str)") from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read {path}: it is not a .npy or .npz file of numbers") from error
