"""Samples in a table: the columns of a CSV or Parquet file as the inputs of a model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients import tables
from modelrepo.clients.errors import ClientError
from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.verification import labelled

DATATYPES = {"f": "FP", "i": "INT", "u": "UINT"}
# Rows that are read at once.
ROWS = 4096


def read(
    file: Path, inputs: Sequence[TensorSpec], column: str, most: int, known: Mapping[str, Any]
) -> tuple[Arrays, tuple[str, ...], tuple[str, ...]]:
    """Return an array for each input, with a leading axis of rows, and the labels.

    Also return the columns that are not used, and warnings for the user.

    The labels are in ``column``, or in the first column that has one of their usual names in any case; they become
    whole numbers (int64), or else text. ``known`` is what a source says of the table that the model was fitted on: its
    ``columns``, and the text inputs that it knows ``missing`` values of. Raises OptionError for columns and cells that
    do not fit the inputs, and for more than ``most`` bytes.
    """
    fitted = known.get("columns", ())
    model = Model("the model", (), "", ROWS, tuple(map(_tensor, inputs)), ())
    try:
        table = tables.open_table(file, [*(spec.name for spec in inputs), *fitted])
        others = [name for name in table.names if name not in {*fitted, *(spec.name for spec in inputs)}]
        usual = next((name for each in labelled.NAMES for name in others if name.lower() == each), None)
        own = column if column in table.names else usual
        chunks, classes, size = [], [], 0
        selection = tables.select(table, model, own, fitted=fitted)
        for arrays, cells, _ in selection.chunks():
            chunks.append(arrays)
            classes.extend([] if cells is None else list(cells))
            size += sum(array.nbytes for array in arrays.values())
            if size > most:
                raise OptionError(f"{file} holds more than {most / 1e9:.0f} GB of samples", "Give fewer rows")
    except tables.TooManyColumns as error:
        raise OptionError(error.message, "Leave some out; --label-column NAME says which has the labels") from error
    except ClientError as error:
        raise OptionError(error.message, error.hint) from error
    if not chunks:
        raise OptionError(f"{file} has no rows")
    joined = {name: _text(np.concatenate([arrays[name] for arrays in chunks])) for name in chunks[0]}
    unused = tuple(name for name in table.names if name and name not in selection.wanted)
    cautions = (*selection.cautions, *_missing(file, joined, known.get("missing", ())))
    return {**joined, **({own: _labels(classes)} if own else {})}, unused, cautions


def _missing(file: Path, arrays: Arrays, texts: Collection[str]) -> Iterator[str]:
    """Yield a warning for each input of texts that is empty in some rows, and whose missing values the model knows."""
    for name in texts:
        count = int((arrays[name] == "").sum()) if name in arrays else 0
        if count:
            yield f"{file}: {name} is empty in {count} rows: both models get empty text there, not a missing value"


def _tensor(spec: TensorSpec) -> Tensor:
    dtype = np.dtype(spec.dtype) if spec.dtype != "bfloat16" else None
    if dtype is None or dtype.kind not in DATATYPES:
        datatype = "BF16" if dtype is None else "BOOL" if dtype.kind == "b" else "BYTES"
    else:
        datatype = f"{DATATYPES[dtype.kind]}{dtype.itemsize * 8}"
    return Tensor(spec.name, datatype, tuple(dim if isinstance(dim, int) else -1 for dim in spec.shape), spec.optional)


def _text(array: Array) -> Array:
    """Return text as numpy's own strings, other arrays as they are."""
    if array.dtype != object:
        return array
    return np.array([text.decode() for text in array.flat]).reshape(array.shape)


def _labels(cells: Sequence[Any]) -> Array:
    """Return labels as whole numbers if they all are, else as text."""
    try:
        numbers = np.array([float(cell) for cell in cells])
        if (numbers == np.round(numbers)).all():
            return numbers.astype(np.int64)
    except (TypeError, ValueError):
        pass
    return np.array([str(cell) for cell in cells])
