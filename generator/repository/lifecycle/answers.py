"""How far the answers of two versions are apart: both get the same inputs, in this process, on the CPU."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.errors import ModelRepoError, VerificationError
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.verification import inputs

# Rows of a pool: one of each family of inputs, and more random ones.
ROWS, SEED = 16, 0
GOLDEN, GENERATED = "golden requests", "generated inputs"


@dataclass(frozen=True)
class OutputChange:
    """How far an output is apart over all cases.

    ``largest`` is the largest difference, and ``relative`` the same as a share of the largest magnitude of the first
    version's answers. ``equal`` is the share of equal answers, and ``top1`` of those with the same class, for scores.
    None: there is no such number.
    """

    name: str
    equal: float
    largest: float | None = None
    relative: float | None = None
    top1: float | None = None
    trouble: str = ""  # why they can't be compared


@dataclass(frozen=True)
class Answers:
    """The answers of two versions to ``cases`` inputs of a ``kind``; ``trouble`` says why there are none."""

    kind: str
    cases: int
    outputs: tuple[OutputChange, ...] = ()
    trouble: str = ""

    @property
    def equal(self) -> bool:
        """Whether all were compared, and are equal."""
        return not self.trouble and all(each.equal == 1 and not each.trouble for each in self.outputs)


def compared(repository: Repository, name: str, models: Sequence[tuple[int, Path]], record: Manifest | None) -> Answers:
    """Ask two versions the golden requests of both, or else generated inputs that fit the ``record`` of the first."""
    requests = golden_requests(repository, name, [number for number, _ in models])
    found = _asked(GOLDEN, requests, models) if requests else None
    if found is None or (found.trouble and not found.cases):
        found = _asked(GENERATED, list(_generated(models[0][1], record)), models)
    return found


def golden_requests(repository: Repository, name: str, versions: Sequence[int]) -> list[Arrays]:
    """Return the inputs of the golden requests of versions, as ONNX Runtime takes them."""
    try:
        golden = importlib.import_module("modelrepo.generator.repository.lifecycle.golden")
    except ModuleNotFoundError:
        return []
    found: list[Arrays] = []
    for version in versions:
        kept = golden.read(repository, name, version)
        found += (
            [{key: _text(each) for key, each in request.inputs.items()} for request in kept.requests] if kept else []
        )
    return found


def _text(array: Array) -> Array:
    if array.dtype != object:
        return array
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _generated(path: Path, record: Manifest | None) -> Iterator[Arrays]:
    signature = onnx_file.signature_of(path, record.provenance.source.inputs if record else ())
    for _, pool in inputs.generated(signature, ROWS, SEED):
        for row in range(len(pool.families)):
            yield pool.single(row, signature)


def _asked(kind: str, requests: list[Arrays], models: Sequence[tuple[int, Path]]) -> Answers:
    """Ask both versions, one after the other, what the first one answers; the other must answer that, too."""
    (number, first), (other, second) = models
    answers: list[tuple[Arrays, dict[str, Any]]] = []
    trouble = ""
    try:
        run = runtime.open_model(first, mapped=True)
        for arrays in requests:
            try:
                answers.append((arrays, run(arrays)))
            except VerificationError as error:
                trouble = trouble or runtime.reason(error)
            if len(answers) >= 2 * ROWS and kind == GENERATED:
                break
        del run
        if not answers:
            return Answers(kind, 0, trouble=f"version {number} does not answer: {trouble}")
        run = runtime.open_model(second, mapped=True)
    except ModelRepoError as error:
        return Answers(kind, 0, trouble=runtime.reason(error))
    pairs = []
    for arrays, answer in answers:
        try:
            pairs.append((answer, run(arrays)))
        except VerificationError as error:
            return Answers(kind, 0, trouble=f"version {other} does not answer: {runtime.reason(error)}")
    return Answers(kind, len(pairs), tuple(_outputs(pairs)))


def _outputs(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[OutputChange]:
    before, after = pairs[0]
    for name in before | after:
        if name not in before or name not in after:
            yield OutputChange(name, 0.0, trouble="only one version has it")
            continue
        mine = [np.asarray(one[name]) for one, _ in pairs]
        theirs = [np.asarray(other[name]) for _, other in pairs]
        if any(a.shape != b.shape for a, b in zip(mine, theirs, strict=True)):
            yield OutputChange(name, 0.0, trouble="its shape is another")
        else:
            yield _output(name, mine, theirs)


def _output(name: str, mine: list[Array], theirs: list[Array]) -> OutputChange:
    numbers = all(each.dtype.kind in "fiu" for each in (*mine, *theirs))
    equal = [_equal(a, b) for a, b in zip(mine, theirs, strict=True)]
    share = float(np.mean(equal))
    if not numbers:
        return OutputChange(name, share)
    largest = float(np.max([_difference(a, b) for a, b in zip(mine, theirs, strict=True)]))  # NaN stays
    magnitude = float(np.max([np.abs(each.astype(np.float64)).max(initial=0.0) for each in mine]))
    relative = largest / magnitude if magnitude else (0.0 if largest == 0 else None)
    return OutputChange(name, share, _finite(largest), _finite(relative), _top1(mine, theirs))


def _equal(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f"))


def _difference(one: Array, other: Array) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    differ = (first != second) & ~(np.isnan(first) & np.isnan(second))
    return float(np.abs(first[differ] - second[differ]).max(initial=0.0))


def _top1(mine: list[Array], theirs: list[Array]) -> float | None:
    """Return the share of samples with the same class; None for an output that is not scores of classes."""
    if any(each.dtype.kind != "f" or each.ndim != 2 or each.shape[-1] < 2 for each in mine):
        return None
    same = [a.argmax(-1) == b.argmax(-1) for a, b in zip(mine, theirs, strict=True)]
    return float(np.concatenate(same).mean())


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
