"""The cells of a table's column as an array of an input's datatype: texts of a CSV file, or typed values."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from modelrepo.clients.errors import InputError
from modelrepo.clients.inputs import describe, numpy_dtype
from modelrepo.clients.models import Array, Tensor

# What pandas, R and databases write for a missing number.
MISSING = ("", "na", "n/a", "nan", "null", "none", "<na>")
NO_VALUE = "and nothing stands for a missing value in"
FLOAT = (
    "Leave the row out. If a scikit-learn model imputes {name}, apart from columns of texts, generate it with "
    "--input-shape {name}={shape}:float64: NaN stands for a missing value"
)
TRUTHS = {"true": 1, "false": 0}
Where = Callable[[int], str]
Cells: TypeAlias = Sequence[Any] | Array


def read_column(cells: Cells, tensor: Tensor, where: Where) -> Array:
    """Return a column as an array [rows] of the tensor's datatype, or [rows, n] for lists of n numbers.

    Numbers: a missing one is NaN, true and false are 1 and 0; only whole numbers become integers, which can't be
    missing. Text (BYTES) is UTF-8 bytes, empty if missing. Raises InputError that begins with ``where(row)``.
    """
    if len(cells) and isinstance(cells[0], list):
        return _lists(cells, tensor, where)
    if tensor.datatype == "BYTES":
        return _texts(cells, tensor, where)
    wanted = numpy_dtype(tensor.datatype)
    numbers = cells if isinstance(cells, np.ndarray) else _quick(cells, _is_float(wanted))
    if numbers is None or (numbers.dtype.kind == "f" and not _is_float(wanted)):
        numbers = _each(cells, tensor, where, _real if _is_float(wanted) else _whole)
    return _cast(numbers, wanted, cells, tensor, where)


def _is_float(dtype: "np.dtype[Any]") -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _quick(cells: Cells, floats: bool) -> Array | None:
    """Return plain numbers as float64 or int64, None if a cell needs a closer look."""
    if any(isinstance(cell, str) and "_" in cell for cell in cells):  # Python reads 1_000 as a number
        return None
    if not floats and any(isinstance(cell, float) for cell in cells):
        return None
    try:
        return np.array(list(map(float if floats else int, cells)), np.float64 if floats else np.int64)
    except (TypeError, ValueError, OverflowError):
        return None


def _each(cells: Cells, tensor: Tensor, where: Where, read: Callable[[Any], Any]) -> Array:
    values = []
    for row, cell in enumerate(cells.tolist() if isinstance(cells, np.ndarray) else cells):
        try:
            values.append(read(cell))
        except ValueError as error:
            raise _refused(cell, str(error), tensor, where(row)) from error
    try:
        return np.array(values, np.float64 if read is _real else np.int64)
    except OverflowError:  # uint64
        return np.array(values, object)


def _refused(cell: Any, reason: str, tensor: Tensor, place: str) -> InputError:
    shown = cell if len(str(cell)) <= 60 else f"{str(cell)[:60]}…"
    shown = repr(shown) if isinstance(shown, str) else str(shown)
    what = "is empty" if cell is None or (isinstance(cell, str) and not cell.strip()) else f"is {shown}"
    hint = FLOAT.format(name=tensor.name, shape=_example(tensor)) if reason == NO_VALUE else ""
    return InputError(f"{place} {what}, {reason} {describe(tensor)}", hint)


def _example(tensor: Tensor) -> str:
    return "x".join(str(max(1, dim)) for dim in tensor.dims)


def _real(cell: Any) -> float:
    """Return a number, NaN for a missing one; ValueError with the start of a reason."""
    if cell is None:
        return float("nan")
    if isinstance(cell, (bool, int, float)):
        return float(cell)
    if not isinstance(cell, str):
        raise ValueError(f"a {type(cell).__name__}, which is not a number for")
    text = cell.strip().lower()
    if text in MISSING:
        return float("nan")
    if text in TRUTHS:
        return float(TRUTHS[text])
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        comma = "with a decimal comma, which is not read as a number for"
        raise ValueError(comma if text.count(",") == 1 and _parses(text) else "which is not a number for") from None


def _parses(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _whole(cell: Any) -> int:
    """Return a whole number; ValueError with the start of a reason."""
    if isinstance(cell, str):
        try:
            return int(cell) if "_" not in cell else int("no")
        except ValueError:
            pass
    number = _real(cell)
    if number != number:
        raise ValueError(NO_VALUE)
    if not float(number).is_integer():
        raise ValueError("which is not a whole number for")
    return int(cell) if isinstance(cell, int) else int(number)


def _cast(numbers: Array, wanted: "np.dtype[Any]", cells: Cells, tensor: Tensor, where: Where) -> Array:
    """Return numbers in a datatype that holds each; InputError for one that is out of range."""
    if _is_float(wanted):
        with np.errstate(over="ignore"):
            cast = numbers.astype(wanted)
        wrong = np.isinf(cast.astype(np.float64)) & ~np.isinf(numbers.astype(np.float64))
    else:
        low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
        wide = numbers.astype(object) if numbers.dtype == np.uint64 else numbers
        wrong = np.asarray((wide < low) | (wide > high), bool)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _refused(cells[row], "which is out of range for", tensor, where(row))
    return numbers.astype(wanted)


def _texts(cells: Cells, tensor: Tensor, where: Where) -> Array:
    array = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, (str, bytes)):
            raise _refused(cell, "which is not text for", tensor, where(row))
        array[row] = cell.encode() if isinstance(cell, str) else cell or b""
    return array


def _lists(cells: Cells, tensor: Tensor, where: Where) -> Array:
    """Return lists of equal length as rows of an array."""
    length = len(cells[0])
    for row, cell in enumerate(cells):
        if not isinstance(cell, list) or len(cell) != length:
            raise _refused(cell, f"which is not a list of {length} values for", tensor, where(row))
    flat = [value for cell in cells for value in cell]
    return read_column(flat, tensor, lambda place: where(place // max(1, length))).reshape(len(cells), length)
