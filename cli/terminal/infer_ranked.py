"""Answers that are lists of classes or boxes, the best first: as a table, for programs, and against labels.

A model that ends with postprocessing names its outputs so: ``scores``, with ``labels`` or ``classes`` of the same
shape, and for detectors ``boxes``. The first ``count`` of a sample mean something, all if there is no ``count``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelrepo.cli.terminal.infer_answers import Kept, Output, decoded, finite
from modelrepo.cli.terminal.infer_data import counted
from modelrepo.cli.terminal.infer_labels import FLOATS, Labels
from modelrepo.clients.models import Answer, Array, Model
from modelrepo.generator.errors import OptionError
from modelrepo.generator.verification.labelled import key

SCORES, LABELS, CLASSES, BOXES, COUNT = "scores", "labels", "classes", "boxes", "count"
SIDES = ("left", "top", "right", "bottom")


def ranked_outputs(model: Model) -> tuple[str, ...] | None:
    """Return the names of a model's ranked outputs, None if it has none."""
    outputs = {tensor.name: tensor for tensor in model.outputs}
    scores = outputs.get(SCORES)
    if scores is None or not scores.datatype.startswith(FLOATS):
        return None
    named = [name for name in (LABELS, CLASSES) if name in outputs and outputs[name].dims == scores.dims]
    named = [name for name in named if not outputs[name].datatype.startswith(FLOATS)]
    boxes = [BOXES] if BOXES in outputs and len(outputs[BOXES].dims) == len(scores.dims) + 1 else []
    if not named or (not boxes and len(scores.dims) < 1 + bool(model.max_batch_size)):
        return None
    return (SCORES, *named, *boxes, *([COUNT] if COUNT in outputs else []))


@dataclass(frozen=True)
class Found:
    """A class or a box: what it is called, the number of its class, its score, and its sides."""

    label: str
    index: int | None
    score: float
    box: tuple[float, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        box = {"box": dict(zip(SIDES, finite(list(self.box)), strict=True))} if self.box else {}
        return {"label": self.label, "index": self.index, "score": finite(self.score), **box}


@dataclass(frozen=True)
class Ranked:
    """How the ranked ``outputs`` of samples are shown: of each sample the ``top`` best, or all."""

    outputs: tuple[str, ...]
    names: Sequence[str]
    top: int | None

    def samples(self, kept: Mapping[str, Output]) -> list[list[Found]]:
        """Return what was found in each sample that is kept."""
        columns = [_rows(kept[name], name) for name in self.outputs]
        samples = zip(*columns, strict=False)
        return [_found(dict(zip(self.outputs, each, strict=True)))[: self.top] for each in samples]

    def document(self, kept: Mapping[str, Output]) -> dict[str, Any]:
        """Return the ``classes`` of each sample, or its ``boxes``, for programs."""
        found = [[each.document() for each in sample] for sample in self.samples(kept)]
        return {BOXES if BOXES in self.outputs else "classes": found}

    def text(self, kept: Kept) -> str:
        """Return a table with a row for each class or box, and the other outputs below it."""
        samples = self.samples(kept.outputs)
        rows = [("sample", "rank", "label", "index", "score", *(SIDES if BOXES in self.outputs else ()))]
        for number, sample in enumerate(samples):
            name = self.names[number] if self.names else str(number)
            rows += [(name, *_cells(rank, each)) for rank, each in enumerate(sample, 1)]
            if not sample:
                rows.append((name, "-", "nothing found", *[""] * (len(rows[0]) - 3)))
        columns = list(zip(*rows, strict=True))[0 if len(samples) > 1 else 1 :]
        columns = [column for column in columns if column[0] != "index" or set(column[1:]) - {"-", ""}]
        widths = [max(map(len, column)) for column in columns]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*columns, strict=True)]
        total = max(output.rows for output in kept.outputs.values())
        if total > len(samples) > 1:
            lines.append(f"{len(samples)} of {counted(total)}: --json or --output FILE gives all")
        rest = kept.text(without=self.outputs)
        return "\n".join([*lines, *(["", rest, ""] if rest else [])])


def _rows(output: Output, name: str) -> Iterator[Array]:
    """Yield an output's samples; the list of the only sample of a model without batches is one."""
    axes = 2 if name == BOXES else 0 if name == COUNT else 1
    for part in output.first:
        yield from part if part.ndim > axes or name == COUNT else [part]


def _found(sample: Mapping[str, Array]) -> list[Found]:
    scores = np.atleast_1d(sample[SCORES]).ravel()
    count = len(scores)
    if COUNT in sample:
        count = min(count, int(np.ravel(sample[COUNT])[0]))
    labels = decoded(np.ravel(sample[LABELS])) if LABELS in sample else None
    numbers = sample.get(CLASSES)
    if labels is not None and labels.dtype != object:
        labels, numbers = None, labels if numbers is None else numbers
    boxes = sample[BOXES].reshape(len(scores), -1) if BOXES in sample else None
    return [
        Found(
            str(labels[row]) if labels is not None else "",
            int(np.ravel(numbers)[row]) if numbers is not None else None,
            float(scores[row]),
            tuple(map(float, boxes[row])) if boxes is not None else (),
        )
        for row in range(count)
    ]


def _cells(rank: int, each: Found) -> tuple[str, ...]:
    index = "-" if each.index is None else str(each.index)
    return (str(rank), each.label or "-", index, f"{each.score:.6g}", *(f"{side:.5g}" for side in each.box))


@dataclass
class RankedJudge:
    """Counts the samples whose best class is their label, and those that have it among the ``top`` best."""

    outputs: tuple[str, ...]
    labels: Labels
    top: int | None
    count: int = 0
    right: int = 0
    among: int = 0
    wanted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if BOXES in self.outputs:
            raise OptionError("--labels was given, but the model answers boxes", "Leave --labels out")
        self.wanted = [key(text) for text in self.labels.texts]

    def add(self, answer: Answer, labels: Array) -> None:
        """Count some rows: a label is a class's name, or its number."""
        names = [decoded(np.asarray(answer[each])) for each in self.outputs if each in (LABELS, CLASSES)]
        for row, label in enumerate(labels.tolist()):
            own = self.wanted[label]
            ranks = [list(map(key, map(str, np.ravel(each.reshape(len(labels), -1)[row])))) for each in names]
            self.count += 1
            self.right += any(each[:1] == [own] for each in ranks)
            self.among += any(own in each[: self.top] for each in ranks)

    def document(self) -> dict[str, Any]:
        """Return the share of right answers."""
        best = {} if self.top is None else {f"top{self.top}": self.among / self.count}
        return {"accuracy": {"output": self.outputs[1], "rows": self.count, "top1": self.right / self.count, **best}}

    def text(self) -> str:
        """Return the share of right answers in words."""
        best = "" if self.top is None else f", top-{self.top} {self.among / self.count:.1%}"
        return f"accuracy {self.right / self.count:.1%}{best} of {counted(self.count)}"
