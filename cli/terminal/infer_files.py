"""The answers of `modelrepo infer` in a file, written as they come: .npz, .npy, .csv, .parquet, .jsonl, .json."""

import csv
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from modelrepo.cli.terminal.infer_answers import decoded, document, finite
from modelrepo.clients.models import Answer, Array
from modelrepo.generator.errors import OptionError
from modelrepo.generator.system.extras import TABLES, need, require
from modelrepo.generator.system.files import replacing

# Rows of a row group of Parquet.
GROUP = 1 << 16
PARQUET = ".parquet"


class Writer(Protocol):
    """Writes answers to a file, in order."""

    def add(self, answer: Answer) -> None:
        """Add the answers to some rows: arrays with a leading axis of rows."""

    def finish(self) -> None:
        """Write what is left."""

    def close(self) -> None:
        """Close the file, also after an error."""


@contextmanager
def open_output(path: Path | None) -> Iterator[Writer | None]:
    """Yield the writer of a file by its suffix, None without a path; the file is there when the block ends.

    Raises OptionError for another suffix, and if the file can't be written; then nothing has changed.
    """
    if path is None:
        yield None
        return
    check_output(path)
    try:
        with replacing(path) as temporary, closing(WRITERS[path.suffix](temporary)) as writer:
            yield writer
            writer.finish()
    except OSError as error:
        raise OptionError(f"can't write {path}: {error.strerror or error}") from error


def check_output(path: Path) -> None:
    """Raise OptionError unless there is a writer for a file, and the package that it needs."""
    if path.suffix not in WRITERS:
        raise OptionError(
            f"{path} is not a file that answers are written to", f"Name one that ends in {', '.join(WRITERS)}"
        )
    if path.suffix == PARQUET:
        require(TABLES)


class Arrays:
    """Arrays: each output in a file of its own until its number of rows is known; texts stay in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._texts: dict[str, list[Array]] = {}
        self._rows: dict[str, int] = {}

    def add(self, answer: Answer) -> None:
        """Append each output to its file."""
        for name, array in answer.items():
            if array.dtype == object:  # as numpy's own strings, which end at their last non-zero byte
                parts = self._texts.setdefault(name, [])
                _check_shape(name, array, parts[0].shape[1:] if parts else array.shape[1:])
                parts.append(array.astype(bytes))
            else:
                array = array.astype("float32") if array.dtype.name == "bfloat16" else array
                if name not in self._files:
                    self._kinds[name] = (array.dtype, array.shape[1:])
                    self._files[name] = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115
                _check_shape(name, array, self._kinds[name][1])
                self._files[name].write(np.ascontiguousarray(array).data)
            self._rows[name] = self._rows.get(name, 0) + len(array)

    def finish(self) -> None:
        """Write the outputs, by name, as ``numpy.savez`` does."""
        with zipfile.ZipFile(self.path, "w") as archive:  # numpy.savez takes no array named "file"
            for name in self._rows:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    self._write(name, member)

    def _write(self, name: str, file: IO[bytes]) -> None:
        if name in self._texts:
            np.lib.format.write_array(file, np.concatenate(self._texts[name]), allow_pickle=False)
            return
        dtype, shape = self._kinds[name]
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (self._rows[name], *shape)})
        self._files[name].seek(0)
        shutil.copyfileobj(self._files[name], file)

    def close(self) -> None:
        """Remove the files of the outputs."""
        for file in self._files.values():
            file.close()


class OneArray(Arrays):
    """The only output as one array."""

    def add(self, answer: Answer) -> None:
        """Append the output; OptionError if there are several."""
        if len(answer) != 1:
            raise OptionError(
                f"a .npy file holds one array, and there are {len(answer)} outputs: {', '.join(answer)}", "Name a .npz"
            )
        super().add(answer)

    def finish(self) -> None:
        """Write the output."""
        with self.path.open("wb") as file:
            for name in self._rows:
                self._write(name, file)


class Csv:
    """A line a row, and a column an output, or several for an output with several values a row."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._names: list[str] = []

    def add(self, answer: Answer) -> None:
        """Append the rows."""
        columns = flat_columns(answer)
        if not self._names:
            self._names = list(columns)
            self._csv.writerow(self._names)
        _check_columns(self._names, list(columns))
        self._csv.writerows(zip(*map(_cells, columns.values()), strict=True))

    def finish(self) -> None:
        """Do nothing: all is written."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Parquet:
    """Columns as in CSV, with their types."""

    def __init__(self, path: Path) -> None:
        self._arrow = need("pyarrow", TABLES)
        self._parquet = need("pyarrow.parquet", TABLES)
        self._path = path
        self._writer: Any = None
        self._waiting: list[Any] = []

    def add(self, answer: Answer) -> None:
        """Append the rows; they are written in groups of GROUP rows."""
        columns = {name: decoded(array) for name, array in flat_columns(answer).items()}
        table = self._arrow.table({name: _plain(array) for name, array in columns.items()})
        if self._waiting:
            _check_columns(self._waiting[0].column_names, table.column_names)
        self._waiting.append(table)
        if sum(each.num_rows for each in self._waiting) >= GROUP:
            self._flush()

    def _flush(self) -> None:
        joined = self._arrow.concat_tables(self._waiting)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, joined.schema)
        self._writer.write_table(joined)
        self._waiting = [joined.slice(0, 0)]

    def finish(self) -> None:
        """Write the last group."""
        self._flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class JsonLines:
    """An object a row, with each output by name."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def add(self, answer: Answer) -> None:
        """Append the rows."""
        values = [finite(decoded(array).tolist()) for array in answer.values()]
        for row in zip(*values, strict=True):
            self._file.write(json.dumps(dict(zip(answer, row, strict=True)), ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Do nothing: all is written."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Json:
    """One object with ``dtype``, ``shape`` and ``data`` of each output, as ``--json`` prints it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, list[Array]] = {}

    def add(self, answer: Answer) -> None:
        """Keep the answers."""
        for name, array in answer.items():
            self._parts.setdefault(name, []).append(array)

    def finish(self) -> None:
        """Write the object."""
        outputs = {name: document(parts) for name, parts in self._parts.items()}
        self._path.write_text(json.dumps({"outputs": outputs}, ensure_ascii=False) + "\n", "utf-8")

    def close(self) -> None:
        """Do nothing: no file is open."""


WRITERS: dict[str, Callable[[Path], Writer]] = {
    ".npz": Arrays,
    ".npy": OneArray,
    ".csv": Csv,
    PARQUET: Parquet,
    ".jsonl": JsonLines,
    ".json": Json,
}


def flat_columns(answer: Answer) -> dict[str, Array]:
    """Return the columns of a table: an output of one value a row, or ``NAME_0``, ``NAME_1``, … for several."""
    counts = {name: len(array) for name, array in answer.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise OptionError(f"the outputs have different numbers of rows: {shown}", "Name a .npz file")
    columns = {}
    for name, array in answer.items():
        flat = array.reshape(len(array), -1)
        if flat.shape[1] == 1:
            columns[name] = flat[:, 0]
        else:
            columns.update({f"{name}_{place}": flat[:, place] for place in range(flat.shape[1])})
    return columns


def _cells(column: Array) -> list[Any]:
    """Return values for csv: floats with the fewest digits that tell them apart in their own type."""
    if column.dtype == object:
        cells: list[Any] = decoded(column).tolist()
        return cells
    texts = _plain(column)
    return (texts.astype(str) if texts.dtype.kind == "f" else texts).tolist()  # type: ignore[no-any-return]


def _plain(array: Array) -> Array:
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape[1:] != shape:
        raise OptionError(f"the output {name} differs in shape from row to row", "Name a .jsonl file")


def _check_columns(before: list[str], names: list[str]) -> None:
    if before != names:
        raise OptionError("the outputs differ in shape from row to row", "Name a .jsonl file")
