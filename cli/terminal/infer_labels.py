"""How well the answers of `modelrepo infer` fit the labels: accuracy for classes, errors for numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from modelrepo.cli.terminal.infer_answers import decoded
from modelrepo.cli.terminal.infer_data import counted, load
from modelrepo.clients.cells import Cells, read_column
from modelrepo.clients.inputs import describe
from modelrepo.clients.models import Answer, Array, Model, Tensor
from modelrepo.clients.tables import listed, open_table
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.verification.labelled import key

# More different labels than any classifier has classes.
MOST_CLASSES = 100_000
# A probability of the second class that means it.
THRESHOLD = 0.5
# Lines of a file of labels that are read at a time.
CHUNK = 1 << 16
FLOATS = ("FP", "BF")
NUMBER = Tensor("a label", "FP64", (-1,))


@dataclass
class Labels:
    """Labels as they come: of classes as numbered texts, of values as numbers."""

    numbers: bool  # whether the labels are values, not classes
    texts: dict[str, str] = field(default_factory=dict)  # each text, with the place where it comes first
    parts: list[Array] = field(default_factory=list)

    def add(self, cells: Cells, where: Callable[[int], str]) -> None:
        """Add labels; OptionError or InputError for one that is missing or is not a number, at ``where(row)``."""
        if getattr(cells, "ndim", 1) != 1:
            cells = np.asarray(cells)
            if cells.size != len(cells):
                raise OptionError(f"the labels have the shape {list(cells.shape)}", "Give one label a row")
            cells = cells.reshape(-1)
        if self.numbers:
            self.parts.append(read_column(cells, NUMBER, where))
            return
        codes = {text: code for code, text in enumerate(self.texts)}
        numbered = np.empty(len(cells), np.int32)
        for row, cell in enumerate(cells.tolist() if isinstance(cells, np.ndarray) else cells):
            text = _text(cell)
            if not text:
                raise OptionError(f"{where(row)} is missing", "Give a label for every row")
            if text not in codes:
                codes[text] = len(codes)
                self.texts[text] = where(row)
            numbered[row] = codes[text]
        if len(codes) > MOST_CLASSES:
            raise OptionError(f"there are more than {MOST_CLASSES:,} different labels", "Are they classes?")
        self.parts.append(numbered)

    @property
    def values(self) -> Array:
        """The labels of all rows: numbers, or places in ``texts``."""
        return np.concatenate(self.parts) if self.parts else np.empty(0)


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        cell = cell.decode(errors="replace")
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def read_file(path: Path, rows: int, labels: Labels) -> None:
    """Add the labels of a file, one a row: a .npy file, or text with one a line, below a header or not."""
    if path.suffix == ".npy":
        array = load(path)
        labels.add(array, lambda row: f"{path}, row {row + 1}: the label")
        return
    if path.suffix == ".npz":
        raise OptionError(f"{path} is not a file of labels", "Give .npy, or text with one label a line")
    table = open_table(path)
    if len(table.names) > 1:
        raise OptionError(f"{path} has {len(table.names)} columns", "Give a file with one label a line")
    (name,) = table.names
    count = sum(len(chunk.places) for chunk in table.chunks([name], CHUNK))
    if table.has_header and count != rows:  # a first line that looks like a name is a label
        table = replace(table, has_header=False)
    for chunk in table.chunks([name], CHUNK):
        labels.add(chunk.columns[name], lambda row, at=chunk.places: f"{path}, {table.unit} {at[row]}: the label")  # type: ignore[misc]


class Judge(Protocol):
    """Compares answers with labels, part by part."""

    def add(self, answer: Answer, labels: Array) -> None:
        """Add the answers to some rows, with the labels of these rows."""

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""

    def text(self) -> str:
        """Return the result as a line."""


@dataclass(frozen=True)
class Judged:
    """The output that is compared with labels: as it is (``label``, ``value``) or by its largest number (``scores``).

    ``scores`` has a number for each class, if there is such an output.
    """

    tensor: Tensor
    how: str
    scores: Tensor | None


def judged_output(model: Model) -> Judged:
    """Return the output that labels are compared with; OptionError if none or several could be."""
    single = [tensor for tensor in model.outputs if not row_dims(tensor, model)]
    values = [tensor for tensor in single if tensor.datatype.startswith(FLOATS)]
    labels = [tensor for tensor in single if tensor not in values]
    ranked = [each for each in model.outputs if each.datatype.startswith(FLOATS) and len(row_dims(each, model)) == 1]
    ranked = [each for each in ranked if each.labels] or ranked
    scores = ranked[0] if len(ranked) == 1 else None
    for found, how in ((labels, "label"), (ranked, "scores"), (values, "value")):
        if len(found) == 1:
            return Judged(found[0], how, scores)
    raise OptionError(
        f"can't compare labels with the outputs of {model.name}: {', '.join(map(describe, model.outputs))}",
        "One output must hold a label, a number for each class, or one number a row",
    )


def row_dims(tensor: Tensor, model: Model) -> list[int]:
    """Return the dims of an output for one row, without those of 1."""
    dims = list(tensor.dims)
    if model.max_batch_size or (len(dims) > 1 and dims[0] == -1):
        dims = dims[1:]
    return [dim for dim in dims if dim != 1]


def make_judge(judged: Judged, labels: Labels, names: Sequence[str], top: int | None, of: str) -> Judge:
    """Return the judge of a model named ``of``; OptionError for labels that are not among its classes.

    ``names`` are those of its classes, if it has any. ``top`` also counts the labels among the best classes.
    """
    scores = judged.scores
    if top is not None and scores is None:
        raise OptionError(f"{of} has no output with a number for each class", "Leave --top out")
    if judged.how == "value":
        return Values(judged.tensor.name)
    otherwise = any(differ(judged.tensor, labels, names) for differ in (_names_only, _numbers_only))
    by_place = judged.how == "scores" or otherwise
    indices = []
    if scores is not None and (by_place or top is not None):
        indices = _indices(labels, names, len(names) or scores.dims[-1], of)
    best = Best(scores.name, indices, top) if scores is not None and top is not None else None
    if by_place and scores is not None:
        return Classes(scores.name, indices, tuple(names), largest=True, best=best)
    return Classes(judged.tensor.name, _as_answered(judged.tensor, labels, names, of), best=best)


def _names_only(tensor: Tensor, labels: Labels, names: Sequence[str]) -> bool:
    """Whether labels are names of classes, and the output has numbers."""
    return bool(names) and tensor.datatype != "BYTES" and any(_whole(text) is None for text in labels.texts)


def _numbers_only(tensor: Tensor, labels: Labels, names: Sequence[str]) -> bool:
    """Whether labels are the numbers of classes from 0 on, and the output has other names or numbers for these.

    An output of whole numbers may have its own for classes whose names are words.
    """
    if not names or (tensor.datatype != "BYTES" and any(_whole(name) is None for name in names)):
        return False
    texts = set(map(key, labels.texts))
    return not texts <= set(map(key, names)) and texts <= set(map(str, range(len(names))))


def _as_answered(tensor: Tensor, labels: Labels, names: Sequence[str], of: str) -> list[Any]:
    """Return the labels as a model's output has them: texts or whole numbers."""
    if tensor.datatype == "BYTES" and _numbers_only(tensor, labels, names):
        return [names[int(key(text))] for text in labels.texts]
    if tensor.datatype == "BYTES":
        return [_known(text, place, names, of) if names else text for text, place in labels.texts.items()]
    found = []
    for text, place in labels.texts.items():
        number = _whole(text)
        if number is None:
            raise OptionError(f"{place} is {text!r}, but {of} answers whole numbers in {describe(tensor)}")
        if names and all(_whole(name) is not None for name in names):
            _known(str(number), place, names, of)
        found.append(number)
    return found


def _indices(labels: Labels, names: Sequence[str], count: int, of: str) -> list[Any]:
    """Return the labels as indices of classes: by name, or as they are."""
    by_name = set(map(key, labels.texts)) <= set(map(key, names))
    found: list[Any] = []
    for text, place in labels.texts.items():
        number = None if by_name else _whole(text)
        if number is None:
            if not names:
                raise OptionError(f"{place} is {text!r}, but {of} has no names for its classes", "Give their numbers")
            number = names.index(_known(text, place, names, of))
        elif number < 0 or (count > 0 and number >= count):
            counted = f": it has {count}, counted from 0" if count > 0 else ""
            raise OptionError(f"{place} is {text!r}, which is not a class of {of}{counted}")
        found.append(number)
    return found


def _known(text: str, place: str, names: Sequence[str], of: str) -> str:
    """Return a class's name as the model has it, ignoring case and underscores; OptionError if it has none such."""
    found = [name for name in names if name == text] or [name for name in names if key(name) == key(text)]
    if not found:
        raise OptionError(f"{place} is {text!r}, which is not a class of {of}", nearest(text, names))
    if len(found) > 1:
        raise OptionError(f"{place} is {text!r}, the name of {len(found)} classes of {of}", "Give their numbers")
    return found[0]


def _whole(text: str) -> int | None:
    if text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


@dataclass
class Best:
    """Counts the labels that are among the ``top`` best classes."""

    output: str
    wanted: list[int]  # the index of the class for each label
    top: int
    count: int = 0

    def add(self, answer: Answer, labels: Array) -> None:
        """Count some rows."""
        scores = answer[self.output].reshape(len(labels), -1).astype(np.float64)
        best = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), axis=1, kind="stable")[:, : self.top].tolist()
        self.count += sum(self.wanted[own] in some for own, some in zip(labels.tolist(), best, strict=True))


@dataclass
class Classes:
    """Counts right classes: of an output that holds them, or of the largest number of one."""

    output: str
    wanted: list[Any]  # what the output has for each label
    names: tuple[str, ...] = ()
    largest: bool = False
    best: Best | None = None
    right: dict[Any, int] = field(default_factory=dict)
    count: dict[Any, int] = field(default_factory=dict)
    answered: set[Any] = field(default_factory=set)

    def add(self, answer: Answer, labels: Array) -> None:
        """Count the rows whose answer is the label."""
        array = answer[self.output]
        found = _largest(array.reshape(len(labels), -1)) if self.largest else decoded(array).ravel().tolist()
        for label, got in zip(labels.tolist(), found, strict=True):
            own = self.wanted[label]
            self.count[own] = self.count.get(own, 0) + 1
            self.right[own] = self.right.get(own, 0) + (own == got)
        self.answered.update(found)
        if self.best is not None:
            self.best.add(answer, labels)

    def document(self) -> dict[str, Any]:
        """Return the share of right answers, and the counts of each class."""
        classes = [
            {"label": self._name(own), "count": self.count[own], "right": self.right[own]}
            for own in sorted(self.count, key=lambda each: (isinstance(each, str), each))
        ]
        found: dict[str, Any] = {"output": self.output, "rows": self._rows, "top1": self._share}
        if self.best is not None:
            found[f"top{self.best.top}"] = self.best.count / self._rows
        return {"accuracy": {**found, "classes": classes}}

    @property
    def _rows(self) -> int:
        return sum(self.count.values())

    @property
    def _share(self) -> float:
        return sum(self.right.values()) / self._rows

    def _name(self, own: Any) -> Any:
        return self.names[own] if self.names and 0 <= own < len(self.names) else own

    def text(self) -> str:
        """Return the share of right answers in words; if no label is ever answered, what is."""
        best = f", top-{self.best.top} {self.best.count / self._rows:.1%}" if self.best else ""
        found = f"accuracy {self._share:.1%}{best} of {counted(self._rows)}"
        if self.answered & set(self.count):
            return found
        labels, answered = (listed([str(self._name(own)) for own in each]) for each in (self.count, self.answered))
        return f"{found}: the labels are {labels}, and the model answers {answered}"


def _largest(scores: Array) -> list[int]:
    """Return the place of the largest number of each row, -1 if all are NaN."""
    numbers = scores.astype(np.float64)
    largest = np.where(np.isnan(numbers), -np.inf, numbers).argmax(axis=1)
    found: list[int] = np.where(np.isnan(numbers).all(axis=1), -1, largest).tolist()
    return found


@dataclass
class Values:
    """Sums up the errors of one number a row."""

    output: str
    rows: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    mean: float = 0.0
    spread: float = 0.0  # the sum of squared distances from the mean
    right: int = 0
    binary: bool = True

    def add(self, answer: Answer, labels: Array) -> None:
        """Add the errors of some rows, and join the means and spreads of the labels (Chan et al. 1979)."""
        found = answer[self.output].reshape(-1).astype(np.float64)
        if len(found) != len(labels):
            raise OptionError(f"the output {self.output} has {len(found)} values for {len(labels)} rows")
        self.binary = self.binary and bool(np.isin(labels, (0, 1)).all() and ((found >= 0) & (found <= 1)).all())
        self.right += int(((found > THRESHOLD) == (labels > THRESHOLD)).sum())
        self.absolute += float(np.abs(found - labels).sum())
        self.squared += float(np.square(found - labels).sum())
        rows, own = len(labels), float(labels.mean())
        apart = (own - self.mean) ** 2 * self.rows * rows / (self.rows + rows)
        self.spread += float(np.square(labels - own).sum()) + apart
        self.mean += (own - self.mean) * rows / (self.rows + rows)
        self.rows += rows

    def document(self) -> dict[str, Any]:
        """Return the mean absolute error and R², which is None for equal labels; or accuracy, for probabilities."""
        found: dict[str, Any] = {"output": self.output, "rows": self.rows}
        if self.binary:
            return {"accuracy": {**found, "top1": self.right / self.rows, "threshold": THRESHOLD}}
        r2 = 1 - self.squared / self.spread if self.spread else None
        return {"regression": {**found, "mean_absolute_error": self.absolute / self.rows, "r2": r2}}

    def text(self) -> str:
        """Return the errors in words."""
        if self.binary:
            return f"accuracy {self.right / self.rows:.1%} of {counted(self.rows)}, at a threshold of {THRESHOLD}"
        found: Mapping[str, Any] = self.document()["regression"]
        r2 = f", R² {found['r2']:.4f}" if found["r2"] is not None else ""
        mean = f"mean absolute error {found['mean_absolute_error']:.4g}"
        return f"{mean}{r2} of {counted(self.rows)} (numbers, no classes)"
