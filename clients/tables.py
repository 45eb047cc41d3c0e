"""Tables in files (CSV, TSV, Parquet) as a stream of rows, in bounded memory; which columns are a model's inputs.

CSV needs the standard library only. Parquet needs pyarrow, which is imported when such a file is opened.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from modelrepo.clients.cells import Cells, read_column
from modelrepo.clients.errors import DependencyError, InputError, nearest
from modelrepo.clients.inputs import describe
from modelrepo.clients.models import Array, Model, Tensor

SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".parquet", ".csv.gz", ".tsv.gz")
DELIMITERS = (",", ";", "\t", "|")
PARQUET, GZIP, UTF16 = b"PAR1", b"\x1f\x8b", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Bytes that tell what a file is.
START = 512
# Cells that are read at a time: 30 MB of texts.
CELLS = 1 << 18
# Columns that a message names.
NAMED = 12


class TooManyColumns(InputError):
    """A table has more columns than its model's only input has values a row."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: texts (CSV) or arrays (Parquet) by column, and the place of each row in the file."""

    columns: Mapping[str, Cells]
    places: Sequence[int]


@dataclass(frozen=True)
class Table:
    """A table in a file: its columns, and notes for the user on how it is read.

    ``unit`` is what ``Chunk.places`` counts, from 1: ``line`` of a text file, ``row`` of a Parquet file.
    """

    path: Path
    names: tuple[str, ...]
    unit: str
    delimiter: str = ""
    has_header: bool = True
    notes: tuple[str, ...] = ()

    def chunks(self, wanted: Sequence[str], rows: int) -> Iterator[Chunk]:
        """Yield the wanted columns, so many rows at a time; InputError for a file that is damaged."""
        read = _csv_chunks if self.delimiter else _parquet_chunks
        return read(self, wanted, rows)


@dataclass(frozen=True)
class Selection:
    """The columns of a table that a model takes: those of each input, in order, and the one with the labels.

    ``notes`` say what was decided, and ``cautions`` what may be wrong.
    """

    table: Table
    model: Model
    columns: Mapping[str, tuple[str, ...]]
    labels: str | None = None
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The columns that are read."""
        own = [name for names in self.columns.values() for name in names]
        return tuple(dict.fromkeys([*own, *([self.labels] if self.labels else [])]))

    def rows_at_a_time(self) -> int:
        """Return how many rows are read at once: whole requests, if they are not too large for CELLS."""
        batch = max(1, self.model.max_batch_size)
        rows = max(1, CELLS // max(1, len(self.wanted)))
        return rows // batch * batch or rows

    def chunks(self) -> Iterator[tuple[dict[str, Array], Cells | None, Sequence[int]]]:
        """Yield arrays by input name with a leading axis of rows, the labels as they are, and the rows' places.

        InputError names the line, the column and the value that does not fit.
        """
        tensors = {tensor.name: tensor for tensor in self.model.inputs}
        for chunk in self.table.chunks(self.wanted, self.rows_at_a_time()):
            arrays = {name: self._array(tensors[name], own, chunk) for name, own in self.columns.items()}
            yield arrays, chunk.columns[self.labels] if self.labels else None, chunk.places

    def _array(self, tensor: Tensor, names: Sequence[str], chunk: Chunk) -> Array:
        def where(name: str) -> Callable[[int], str]:
            return lambda row: f"{self.table.path}, {self.table.unit} {chunk.places[row]}: {name}"

        own = [read_column(chunk.columns[name], tensor, where(name)) for name in names]
        joined = own[0] if len(own) == 1 else np.stack(own, axis=1)
        return joined.reshape(len(chunk.places), *row_shape(tensor, self.model, joined.size // len(joined)))


def is_table(path: Path) -> bool:
    """Whether a file is a table by its suffix, or by Parquet's first bytes."""
    return path.name.lower().endswith(SUFFIXES) or (path.is_file() and _start(path)[:4] == PARQUET)


def open_table(path: str | Path, known: Iterable[str] = ()) -> Table:
    """Return the table in a file; ``known`` names tell a header from a first row. InputError, DependencyError."""
    path = Path(path)
    try:
        start = _start(path)
        if b"\0" in start and start[:2] not in UTF16 and start[:2] != GZIP and start[:4] != PARQUET:
            raise InputError(f"{path} is not a table", f"Tables are text or Parquet, and end in {', '.join(SUFFIXES)}")
        if not start:
            raise InputError(f"{path} is empty")
        if start[:4] == PARQUET:
            return _opened_parquet(path)
        if path.suffix == ".parquet":
            raise InputError(f"{path} is not a Parquet file")
        return _opened_csv(path, set(known))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error


def row_shape(tensor: Tensor, model: Model, values: int) -> tuple[int, ...]:
    """Return the shape of one row of an input, of ``values`` numbers if a dim is free; InputError if none fits.

    For a model that does not batch, a free first dim of several is 1.
    """
    dims = tensor.dims[1:] if model.max_batch_size else tensor.dims
    if not model.max_batch_size and len(dims) > 1 and dims[0] == -1:
        dims = (1, *dims[1:])
    fixed = int(np.prod([dim for dim in dims if dim != -1]))
    free = dims.count(-1)
    if (free == 0 and values == fixed) or (free == 1 and fixed and values % fixed == 0):
        return tuple(values // fixed if dim == -1 else dim for dim in dims)
    raise InputError(f"{values} columns do not fill the input {describe(tensor)}")


def plain(name: str) -> str:
    """Return a name that every client can write: of ASCII letters, digits and underscores."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name) or "column"
    return f"_{kept}" if kept[0].isdigit() else kept


def select(
    table: Table,
    model: Model,
    labels: str | None = None,
    columns: Sequence[str] = (),
    fitted: Sequence[str] = (),
) -> Selection:
    """Return which columns are which input: by name, or all in order as the values of a single input.

    ``labels`` is left out of the inputs; ``columns``, if given, are the only ones, in that order. ``fitted`` are the
    names and the order of the values of a single input, if they are known: a table that has them may have others, in
    any order. A column without a name, such as the index that pandas writes, is left out. Raises InputError for
    columns that do not fit.
    """
    for name in (*columns, *([labels] if labels else [])):
        if name not in table.names:
            raise InputError(f"{table.path} has no column {name!r}", nearest(name, table.names))
    left = tuple(columns) or tuple(name for name in table.names if name and name != labels)
    named = {tensor.name: _column_of(tensor, left, table) for tensor in model.inputs}
    if not columns and (len(model.inputs) > 1 or (model.inputs and named[model.inputs[0].name])):
        return _by_name(table, model, named, left, labels)
    if len(model.inputs) != 1:
        raise InputError(f"{model.name} takes {len(model.inputs)} inputs", "Leave --columns out: they go by name")
    own = () if columns else _fitted(table, left, fitted, labels)
    if not own:
        return _in_order(table, model, left, labels, columns, fitted)
    (tensor,) = model.inputs
    row_shape(tensor, model, len(own))
    extra = [name for name in left if name not in own]
    return Selection(table, model, {tensor.name: own}, labels, (*table.notes, *_unasked(table, model, extra)))


def _fitted(table: Table, names: Sequence[str], fitted: Sequence[str], labels: str | None) -> tuple[str, ...]:
    """Return the columns with the names that a model was fitted on; none if the table has none of these.

    InputError if it has some and lacks others.
    """
    found = {name: [each for each in names if name in (each, plain(each))] for name in fitted}
    if not any(found.values()):  # the same but for case, spaces and the like, perhaps
        found = {name: [each for each in names if _loose(name) == _loose(each)] for name in fitted}
    if not any(found.values()):
        return ()
    missing = [name for name, own in found.items() if not own]
    if missing:
        raise InputError(
            f"{table.path} has no column {listed(missing)}",
            f"It has {_with_labels(names, labels)}. The model takes {listed(fitted)}",
        )
    several = next((name for name, own in found.items() if len(own) > 1), None)
    if several is not None:
        raise InputError(f"{table.path} has several columns named {several!r}", "Rename them")
    return tuple(own[0] for own in found.values())


def _with_labels(names: Sequence[str], labels: str | None) -> str:
    return f"{listed(names)}{f', and {labels}, which is taken as the labels' if labels else ''}"


def _loose(name: str) -> str:
    return plain(name.strip()).casefold()


def _unasked(table: Table, model: Model, extra: Sequence[str]) -> tuple[str, ...]:
    """Return a note on columns that are not used, if there are any."""
    return (f"{table.path}: {listed(extra)} {are(extra)} not asked for by {model.name}",) if extra else ()


def _by_name(
    table: Table, model: Model, named: Mapping[str, str | None], left: Sequence[str], labels: str | None
) -> Selection:
    missing = [tensor for tensor in model.inputs if named[tensor.name] is None and not tensor.optional]
    if missing:
        what = "columns for the inputs" if len(missing) > 1 else "column for the input"
        without = "" if table.has_header else " (it has no header)"
        raise InputError(
            f"{table.path}{without} has no {what} {', '.join(map(describe, missing))}",
            f"It has {_with_labels([name for name in table.names if name != labels], labels)}",
        )
    columns = {name: (column,) for name, column in named.items() if column is not None}
    for tensor in model.inputs:
        if tensor.name in columns and table.delimiter:
            row_shape(tensor, model, 1)
    taken = {column for (column,) in columns.values()}
    extra = [name for name in left if name not in taken]
    return Selection(table, model, columns, labels, (*table.notes, *_unasked(table, model, extra)))


def _in_order(
    table: Table,
    model: Model,
    left: Sequence[str],
    labels: str | None,
    columns: Sequence[str],
    fitted: Sequence[str],
) -> Selection:
    """Return all columns as the values of a single input; a caution says so, unless the user chose these columns."""
    (tensor,) = model.inputs
    repeated = [name for name in left if left.count(name) > 1]
    if repeated:
        raise InputError(f"{table.path} has several columns named {repeated[0]!r}", "Rename them")
    try:
        row_shape(tensor, model, len(left))
    except InputError as error:
        numbers = int(np.prod([dim for dim in tensor.dims[1 if model.max_batch_size else 0 :] if dim != -1]))
        kind = TooManyColumns if len(left) > numbers else InputError
        raise kind(
            f"{table.path} has {len(left)} column{'s' * (len(left) != 1)} for {describe(tensor)}, "
            f"which takes {numbers}: {listed(left)}"
        ) from error
    own = {tensor.name: tuple(left)}
    if len(left) > 1 and table.has_header and not columns:
        known = f"which was fitted on {listed(fitted)}" if fitted else "which does not name them"
        caution = f"{table.path}: the order of the columns is taken as that of {model.name}, {known}: {listed(left)}"
        return Selection(table, model, own, labels, table.notes, (caution,))
    order = ", in this order" if len(left) > 1 else ""
    note = f"{table.path}: {listed(left)} {are(left)} taken as {describe(tensor)}{order}"
    if fitted and table.has_header and tuple(left) != tuple(fitted):
        note += f"; the model was fitted on {listed(fitted)}"
    return Selection(table, model, own, labels, (*table.notes, note))


def are(names: Sequence[str]) -> str:
    """Return the verb that follows names."""
    return "are" if len(names) > 1 else "is"


def listed(names: Sequence[str]) -> str:
    """Return names for a message: the first and the last ones, if there are many."""
    shown = [name or "(no name)" for name in names]
    if len(shown) > NAMED:
        shown = [*shown[: NAMED - 2], f"… ({len(shown) - NAMED + 1} more)", shown[-1]]
    return ", ".join(shown)


def _column_of(tensor: Tensor, names: Sequence[str], table: Table) -> str | None:
    """Return the column of an input: of its name, or whose name becomes it. InputError if two do."""
    found = [name for name in names if tensor.name in (name, plain(name))]
    if len(found) > 1:
        several = " and ".join(map(repr, found))
        raise InputError(
            f"{table.path}: the columns {several} could both be the input {tensor.name}", "Rename one of them"
        )
    return found[0] if found else None


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(START)


# CSV


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    """Open a text file, compressed or not, as UTF-8; InputError if it is not."""
    start = _start(path)
    encoding = "utf-16" if start[:2] in UTF16 else "utf-8-sig"
    opener = gzip.open if start[:2] == GZIP else open
    try:
        with opener(path, "rt", encoding=encoding, newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8: {error.reason} ({error.object[error.start]:#04x})",
            f"Convert it, such as with: iconv -f latin1 -t utf-8 {path}",
        ) from error
    except EOFError as error:
        raise InputError(f"can't read {path}: it ends too early") from error


def _opened_csv(path: Path, known: set[str]) -> Table:
    with _text(path) as file:
        lines = list(islice(file, 50))
    delimiter = max(DELIMITERS, key=lambda each: _fields(lines, each, known))
    first = next((cells for _, cells in _reader(path, lines, delimiter) if any(cells)), [])
    if not first:
        raise InputError(f"{path} is empty")
    first = [cell.strip() for cell in first]
    notes = [] if delimiter == "," or path.suffix == ".tsv" else [f"{path}: columns are separated by {delimiter!r}"]
    if is_header(first, known):
        return Table(path, tuple(first), "line", delimiter, notes=tuple(notes))
    notes.append(f"{path} has no header: its first line is data, and the columns are named 0 to {len(first) - 1}")
    return Table(path, tuple(map(str, range(len(first)))), "line", delimiter, has_header=False, notes=tuple(notes))


def _fields(lines: Sequence[str], delimiter: str, known: set[str]) -> tuple[int, int]:
    """Return how many known names, and how many cells, the first line has with a delimiter."""
    try:
        cells = next(csv.reader(iter(lines), delimiter=delimiter), [])
    except csv.Error:
        cells = []
    return len({plain(cell.strip()) for cell in cells} & known), len(cells)


def is_header(cells: Sequence[str], known: set[str]) -> bool:
    """Whether the first line of a file has names: known ones, texts at least half, or 0, 1, 2 and so on."""
    if known & {name for cell in cells for name in (cell, plain(cell))}:
        return True
    numbers = [cell for cell in cells if _is_number(cell)]
    named = len(cells) - len(numbers)
    mostly_names = named > 1 and named >= len(numbers)
    return mostly_names or not numbers or numbers == [str(place) for place in range(len(numbers))]


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", cell) is not None


def _reader(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each row begins, and its cells."""
    reader, begin = csv.reader(lines, delimiter=delimiter, strict=True), 1
    try:
        for cells in reader:
            yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        unclosed = "field larger" in str(error) or "end of data" in str(error)
        reason = "a quote is not closed" if unclosed else str(error)
        raise InputError(f"{path}, line {begin}: {reason}") from error


def _csv_chunks(table: Table, wanted: Sequence[str], rows: int) -> Iterator[Chunk]:
    places = {name: _place(table, name) for name in wanted}
    with _text(table.path) as file:
        numbered = _rows(table, file)
        while part := list(islice(numbered, rows)):
            columns = {name: [cells[place] for _, cells in part] for name, place in places.items()}
            yield Chunk(columns, [line for line, _ in part])


def _place(table: Table, name: str) -> int:
    if table.names.count(name) > 1:
        raise InputError(f"{table.path} has several columns named {name!r}", "Rename them")
    return table.names.index(name)


def _rows(table: Table, file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, without blank lines."""
    width, header = len(table.names), table.has_header
    for line, cells in _reader(table.path, file, table.delimiter):
        if len(cells) != width and not "".join(cells).strip():
            continue
        if header:
            header = False
            continue
        if len(cells) != width:
            than = "the header" if table.has_header else "the first line"
            raise InputError(f"{table.path}, line {line}: it has {len(cells)} cells, {than} has {width}")
        yield line, cells


# Parquet


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise DependencyError(
            "pyarrow, which reads and writes Parquet files, is not installed", "Install the package pyarrow"
        ) from error
    return pyarrow


def _opened_parquet(path: Path) -> Table:
    module = _pyarrow()
    try:
        with module.parquet.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
    except module.ArrowException as error:
        raise InputError(f"can't read {path}: {_first_line(error)}") from error
    # The index that pandas keeps beside the columns.
    return Table(path, tuple("" if re.fullmatch(r"__index_level_\d+__", name) else name for name in names), "row")


def _parquet_chunks(table: Table, wanted: Sequence[str], rows: int) -> Iterator[Chunk]:
    module = _pyarrow()
    for name in wanted:
        _place(table, name)
    start = 1
    try:
        with module.parquet.ParquetFile(table.path) as file:
            for batch in file.iter_batches(rows, columns=[f"{name}" for name in wanted]):
                columns = {name: _values(batch.column(place), module) for place, name in enumerate(batch.schema.names)}
                yield Chunk(columns, range(start, start + batch.num_rows))
                start += batch.num_rows
    except (module.ArrowException, OSError) as error:
        raise InputError(f"can't read {table.path}: {_first_line(error)}") from error


def _values(column: Any, module: Any) -> Cells:
    """Return a column as an array of numbers or booleans, or as a list of objects with None for missing ones."""
    if module.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if module.types.is_decimal(column.type):
        column = column.cast(module.float64())
    number = module.types.is_integer(column.type) or module.types.is_floating(column.type)
    if number and (not column.null_count or module.types.is_floating(column.type)):
        values: Array = column.to_numpy(zero_copy_only=False)
        return values
    objects: list[Any] = column.to_pylist()
    return objects


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
