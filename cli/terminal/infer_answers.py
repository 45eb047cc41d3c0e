"""The answers of `modelrepo infer`: classes and outputs as text and as JSON."""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelrepo.clients import Classification
from modelrepo.clients.models import Answer, Array

# The best classes of each sample.
Classes = Sequence[Sequence[Classification]]
# numpy shortens arrays of more elements, and shows this many rows at each end.
SHOWN, ENDS = 60, 3


@dataclass
class Output:
    """What is kept of an output to show it: everything, or the first and the last rows."""

    everything: bool
    rows: int = 0
    first: list[Array] = field(default_factory=list)
    last: Array | None = None
    varies: bool = False

    def add(self, array: Array) -> None:
        """Add an array with a leading axis of rows."""
        self.varies |= bool(self.first) and array.shape[1:] != self.first[0].shape[1:]
        wide = array[:1].size > SHOWN
        if self.everything or self.rows < (2 * ENDS + 1 if wide else SHOWN):
            self.first.append(array if self.everything else array[: SHOWN + 1])
        if not self.everything and not self.varies:
            self.last = array[-ENDS:] if self.last is None else np.concatenate([self.last, array])[-ENDS:]
        self.rows += len(array)

    def text(self) -> str:
        """Return the values, shortened as numpy does."""
        if self.varies:
            return "rows of different shapes: --json or --output FILE.jsonl gives them"
        head = np.concatenate(self.first)
        if len(head) < self.rows and self.last is not None:
            shown, threshold = np.concatenate([head[: ENDS + 1], self.last]), 0
        else:
            shown, threshold = head, SHOWN
        return np.array2string(decoded(shown), threshold=threshold, edgeitems=ENDS, max_line_width=110, precision=6)

    @property
    def kind(self) -> str:
        """The type, and the shape of all rows."""
        shape = [self.rows, *("?" if self.varies else size for size in self.first[0].shape[1:])]
        return f"{_kind(self.first[0])} [{', '.join(map(str, shape))}]"


class Kept:
    """What is kept of the answers to show them."""

    def __init__(self, everything: bool) -> None:
        self.everything = everything
        self.outputs: dict[str, Output] = {}

    def add(self, answer: Answer) -> None:
        """Add the answers to some rows: arrays with a leading axis of rows."""
        for name, array in answer.items():
            self.outputs.setdefault(name, Output(self.everything)).add(array)

    def text(self, without: Collection[str] = ()) -> str:
        """Return each output's name, dtype and shape, and its values below, shortened if there are many."""
        shown = ((name, output) for name, output in self.outputs.items() if name not in without)
        return "\n\n".join(f"{name}  {output.kind}\n{output.text()}" for name, output in shown)

    def document(self) -> dict[str, Any]:
        """Return ``dtype``, ``shape`` and, if everything is kept, ``data`` of each output."""
        found = {}
        for name, output in self.outputs.items():
            found[name] = document(output.first)
            if not self.everything:
                found[name] = {**found[name], "shape": [output.rows, *found[name]["shape"][1:]]}
                found[name].pop("data")
        return found


def document(parts: Sequence[Array]) -> dict[str, Any]:
    """Return ``dtype``, ``shape`` and ``data`` of an output; the shape has None where rows differ."""
    rows = [row for part in parts for row in finite(decoded(part).tolist())]
    shapes = {part.shape[1:] for part in parts}
    inner = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)]
    return {"dtype": _kind(parts[0]), "shape": [len(rows), *inner], "data": rows}


def classes_table(classes: Classes, names: Sequence[str] = ()) -> str:
    """Return the best classes as aligned columns, with the sample's name or number if there are several."""
    rows = [("sample", "rank", "label", "index", "score")]
    for number, sample in enumerate(classes):
        for rank, each in enumerate(sample, 1):
            name = names[number] if names else str(number)
            rows.append((name, str(rank), each.label or "-", str(each.index), f"{each.score:.6g}"))
    columns = list(zip(*rows, strict=True))[0 if len(classes) > 1 else 1 :]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def classes_document(classes: Classes) -> list[list[dict[str, Any]]]:
    """Return ``label``, ``index`` and ``score`` of the best classes of each sample."""
    return [
        [{"label": each.label, "index": each.index, "score": finite(each.score)} for each in sample]
        for sample in classes
    ]


def as_object(model: str, versions: Sequence[str], **found: Any) -> str:
    """Return what was found as one JSON object, with the versions that answered."""
    version = versions[-1] if versions else None
    more = {"versions": list(versions)} if len(versions) > 1 else {}
    return json.dumps({"model": model, "version": version, **more, **found}, indent=2, ensure_ascii=False)


def answered_by(model: str, versions: Sequence[str]) -> str:
    """Return the model and the versions that answered, in words."""
    return f"{model}, version{'s' * (len(versions) > 1)} {' and '.join(versions) or 'unknown'}"


def with_rows(answer: Answer, apart: bool) -> Answer:
    """Return an answer with a leading axis of rows: a new one for the answer to a row that was asked without it."""
    return {name: array[np.newaxis] if apart else np.atleast_1d(array) for name, array in answer.items()}


def decoded(array: Array) -> Array:
    """Return an array with strings instead of bytes; bytes that are not UTF-8 become escapes."""
    if array.dtype != object:
        return array
    texts = np.empty(array.shape, object)
    texts.flat[:] = [item.decode("utf-8", "backslashreplace") for item in array.flat]
    return texts


def _kind(array: Array) -> str:
    return "string" if array.dtype == object else array.dtype.name


def finite(value: Any) -> Any:
    """Return nested lists with NaN and infinities as the strings NaN, Infinity and -Infinity, as Protobuf does."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
