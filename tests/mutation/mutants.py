"""The mutants of one case: made, compared with the graph that they come from, and verified."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.errors import ModelRepoError, VerificationError
from modelrepo.generator.specs.tensors import Array, Arrays
from tests.mutation import faults
from tests.mutation.asked import Data, Run, answered, batches, differing, edges_of, with_edges
from tests.mutation.cases import Case
from tests.mutation.kept import Kept, kept, noticed

# A mutant is no fault unless some answer changes by so much of the largest of its output in the batch: three times what
# verification allows, so that none is counted which only a lucky input shows.
CHANGE = 3e-3
# How many input sets of each batch size a mutant may differ on before it counts as equivalent.
TURNS = 14
# What may become of a mutant; "equivalent" and "invalid" ones are not counted. "refused" is a case, not a mutant.
STATUSES = ("noticed", "missed", "equivalent", "invalid", "exported", "refused")


@dataclass(frozen=True)
class Task:
    """A case, how many mutants it gets, and where exported models are kept."""

    case: str
    mutants: int
    seed: int
    cache: str


@dataclass(frozen=True)
class Row:
    """What became of a mutant, or of a whole case: then ``fault`` is empty."""

    case: str
    fault: str
    place: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    seed: int = 0


def work(task: Task) -> Iterator[Row]:
    """Yield the row of each mutant of a case, and last that of the case itself."""
    from tests.mutation.cases import cases_of

    family = task.case.partition("/")[0]
    case = next(each for each in cases_of([family]) if each.key == task.case)
    start = time.monotonic()
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        try:
            graph = kept(case, Path(task.cache))
        except Exception as error:  # a model that can't be made is told apart from one that is refused
            unmade = "" if isinstance(error, ModelRepoError) else f"{type(error).__name__}: "
            yield Row(case.key, "", "", "refused", f"{unmade}{error}"[:500], seed=task.seed)
            return
        refused = noticed(graph, graph.export.path)
        if refused:  # it was kept, and verification has learned since
            yield Row(case.key, "", "", "refused", refused[:500], seed=task.seed)
            return
        exported = time.monotonic() - start
        yield from mutants_of(graph, case, task, Path(folder))
    yield Row(case.key, "", "", "exported", seconds=round(exported, 1), seed=task.seed)


def mutants_of(graph: Kept, case: Case, task: Task, folder: Path) -> Iterator[Row]:
    """Yield a row for each mutant of a graph: ``task.mutants`` that count, and those that were passed over."""
    import onnx

    original = onnx.load(str(graph.export.path))
    data, known = case.data(graph.home), edges_of(graph.export.path)
    asked = list(_asked(graph, with_edges(data, known), task.seed))
    counted = 0
    for fault, number in _chosen(original, task.seed, case.key):
        if counted == task.mutants:
            return
        model = onnx.ModelProto()
        model.CopyFrom(original)
        place, change = list(next(each for each in faults.FAULTS if each.name == fault).find(model))[number]
        start = time.monotonic()
        change()
        path = folder / f"{counted}-{fault.replace(' ', '_').replace('%', '')}" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model.SerializeToString())
        near = {*edges_of(path)} ^ {*known}  # the numbers of the fault itself
        focused = list(_asked(graph, with_edges(replace(data, edges=()), sorted(near)), task.seed)) if near else []
        status, reason = judged(graph, path, [*asked, *focused])
        counted += status in ("noticed", "missed")
        yield Row(case.key, fault, place, status, reason[:300], round(time.monotonic() - start, 1), task.seed)


def _chosen(model: Any, seed: int, key: str) -> Iterator[tuple[str, int]]:
    """Yield faults with the number of a place: the kinds in a random order, and each again with another place."""
    random = np.random.default_rng([seed, *key.encode()])
    found = {name: random.permutation(len(each)).tolist() for name, each in faults.places(model).items()}
    for turn in range(3):
        for name in random.permutation(sorted(found)).tolist():
            if turn < len(found[name]):
                yield name, found[name][turn]


def _asked(graph: Kept, data: Data, seed: int) -> Iterator[tuple[Arrays, dict[str, Array]]]:
    """Yield inputs that the source answers, with the answers of the graph."""
    served = ONNX_FORM.open(graph.export.path)
    for arrays in batches(graph.export.signature, data, seed, TURNS):
        for given, _ in answered(graph.source.run, arrays):
            try:
                yield given, {name: np.asarray(answer) for name, answer in served(given).items()}
            except VerificationError:
                continue


def judged(graph: Kept, path: Path, asked: Sequence[tuple[Arrays, dict[str, Array]]]) -> tuple[str, str]:
    """Return the status of a mutant and why: whether it loads, differs, and is noticed."""
    try:
        run = ONNX_FORM.open(path)
    except ModelRepoError as error:
        return "invalid", error.message
    difference = _difference(run, asked)
    if not difference:
        return "equivalent", ""
    message = noticed(graph, path)
    return ("noticed", message) if message else ("missed", difference)


def _difference(run: Run, asked: Sequence[tuple[Arrays, dict[str, Array]]]) -> str:
    """Return how a mutant first differs from the graph that it comes from; empty if it never does."""
    for given, wanted in asked:
        try:
            got = {name: np.asarray(answer) for name, answer in run(given).items()}
        except VerificationError as error:
            return f"fails: {error.message}"
        for name, answer in wanted.items():
            found = differing(answer, got.get(name), CHANGE)
            if found:
                shapes = ", ".join(f"{each}{list(array.shape)}" for each, array in given.items())
                return f"{name}: {found[0]}, asked {shapes}"
    return ""
