"""Inputs to ask a model with, made without the product's generator, and the rows of its answers that count."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec

Run = Callable[[Arrays], Mapping[str, Any]]
# A row of each of these magnitudes, so that both small and large numbers meet each other as in real data.
MAGNITUDES = (1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 300.0, 1e4)
HALVES = (-3.5, -2.5, -2.0, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 18.0, -19.0, 40.0)
WHOLE = (-7, -6, -5, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 100, -100, 1000, -1001)
TEXTS = ("", " ", "a", "I've", "naïve Café", "GOOD film", "bad,bad;bad", "x" * 300, "3.5", "ﬁlm", "no\tfilm\n", "İß")
# How many rows an input set has: alone, a pair, an odd number.
BATCHES = (1, 2, 5)
SIZES = (1, 2, 3, 5, 8)
# An answer is right within this share of the largest magnitude of the output over the batch.
SHARE = 1e-3


@dataclass(frozen=True)
class Data:
    """What is known of a model's inputs from its own data.

    ``rows`` are whole samples, by the names of inputs, each with a leading axis. ``edges`` are numbers that it compares
    with, ``texts`` words that it knows, ``whole`` the range of whole numbers. ``missing``: it takes NaN.
    """

    rows: Mapping[str, Array] = field(default_factory=dict)
    edges: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    whole: tuple[int, int] | None = None
    missing: bool = False


NOTHING = Data()


def batches(signature: Signature, data: Data, seed: int, turns: int = 6) -> Iterator[Arrays]:
    """Yield input sets of several batch sizes and of several sizes of each symbolic dimension."""
    random = np.random.default_rng([seed, 77])
    for turn in range(turns):
        for batch in BATCHES:
            sizes = {
                dim: int(random.choice(spec.sizes.get(dim, SIZES)))
                for spec in signature.inputs
                for dim in spec.shape
                if isinstance(dim, str)
            }
            if signature.batch_dim is not None:
                sizes[str(signature.batch_dim)] = batch
            inputs = signature.inputs if turn % 2 else signature.required.inputs
            yield {spec.name: _values(spec, spec.sized(sizes), data, random) for spec in inputs}


def _values(spec: TensorSpec, shape: Sequence[int], data: Data, random: np.random.Generator) -> Array:
    kind = np.dtype(spec.dtype).kind
    if spec.name in data.rows and random.random() < 0.7:
        own = data.rows[spec.name]
        if own.ndim == len(shape) and own.shape[1:] == tuple(shape[1:]):
            return _disturbed(own[random.integers(0, len(own), shape[0])], data, random).astype(spec.dtype)
    if kind == "O":
        return _texts(shape, data, random)
    if kind == "b":
        return np.asarray(random.random(shape) < random.choice((0.1, 0.5, 0.9)))
    if kind in "iu":
        return _whole(spec, shape, data, random)
    return _disturbed(_floats(shape, random), data, random).astype(spec.dtype)


def _floats(shape: Sequence[int], random: np.random.Generator) -> Array:
    """Return numbers whose magnitude changes from row to row; some rows are of halves only."""
    scale = (
        random.choice(MAGNITUDES, (*shape[:1], *[1] * (len(shape) - 1))) if len(shape) else random.choice(MAGNITUDES)
    )
    values = np.asarray(random.standard_normal(shape) * scale)
    halves = random.choice(HALVES, shape)
    return np.where(random.random(np.shape(scale)) < 0.3, halves, values)


def _disturbed(values: Array, data: Data, random: np.random.Generator) -> Array:
    """Return values of which some are edges or their neighbours, far away, or missing; in other sets none is.

    A large tensor would otherwise always have a number that is so large that it hides the others.
    """
    if values.dtype.kind != "f":
        return values
    changed = values.astype(np.float32)
    if data.edges and random.random() < 0.8:
        edges = random.choice(np.asarray(data.edges, np.float32), values.shape)
        step = random.choice((-np.inf, 0, np.inf), values.shape).astype(np.float32)
        near = np.where(step == 0, edges, np.nextafter(edges, step, dtype=np.float32))
        changed = np.where(random.random(values.shape) < 0.35, near, changed)
    far = random.choice((0.0, -0.0, 1e4, -1e4, 0.5, -1.0), values.shape).astype(np.float32)
    if random.random() < 0.4:
        changed = np.where(random.random(values.shape) < 0.1, far, changed)
    if data.missing:
        changed = np.where(random.random(values.shape) < random.choice((0, 0.1, 0.5)), np.float32(np.nan), changed)
    # Without denormal numbers: TensorFlow takes them for 0, PyTorch and ONNX Runtime do not.
    return np.where(np.abs(changed) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), changed), changed)


def _whole(spec: TensorSpec, shape: Sequence[int], data: Data, random: np.random.Generator) -> Array:
    info = np.iinfo(spec.dtype)
    if data.whole and random.random() < 0.85:
        return random.integers(data.whole[0], data.whole[1] + 1, shape).astype(spec.dtype)
    if random.random() < 0.3:
        return random.integers(-40, 41, shape).clip(info.min, info.max).astype(spec.dtype)
    return np.asarray(random.choice(WHOLE, shape)).clip(info.min, info.max).astype(spec.dtype)


def _texts(shape: Sequence[int], data: Data, random: np.random.Generator) -> Array:
    known = data.texts or ("good", "film", "a")
    made = np.empty(shape, object)
    for place in np.ndindex(*shape):
        kind = random.random()
        if kind < 0.4:
            made[place] = str(random.choice(known))
        elif kind < 0.65:
            made[place] = str(random.choice((" ", ", ", "'", "-"))).join(random.choice(known, random.integers(1, 7)))
        elif kind < 0.8:
            made[place] = str(random.choice(known)).upper() + " " + str(random.choice(TEXTS))
        else:
            made[place] = str(random.choice(TEXTS))
    return made


def answered(source: Run, arrays: Arrays) -> Iterator[tuple[Arrays, Mapping[str, Array]]]:
    """Yield the part of an input set that the source answers, with its answers: all of it, or row by row."""
    try:
        yield arrays, _arrays(source(arrays))
        return
    except VerificationError:
        pass
    counts = {len(array) for array in arrays.values() if array.ndim}
    if len(counts) != 1 or counts == {1}:
        return
    for row in range(counts.pop()):
        one = {name: array[row : row + 1] for name, array in arrays.items()}
        try:
            yield one, _arrays(source(one))
        except InputRefused:
            continue


@dataclass(frozen=True)
class Wrong:
    """An output that is wrong: by how much, for which input, and whether the source's own answer is unsteady there."""

    output: str
    message: str
    arrays: Arrays
    steady: bool = True


def wrong(source: Run, served: Run, arrays: Arrays) -> Iterator[Wrong]:
    """Yield each output that is wrong for the rows of an input set that the source answers with numbers."""
    for given, wanted in answered(source, arrays):
        try:
            got = _arrays(served(given))
        except VerificationError as error:
            yield Wrong("", f"fails: {error.message[:300]}", given)
            continue
        for name, answer in wanted.items():
            found = differing(answer, got.get(name))
            if found is None:
                continue
            message, rows = found
            yield Wrong(name, message, given, _steady(source, given, name, answer, rows))


def differing(wanted: Array, got: "Array | None", share: float = SHARE) -> tuple[str, list[int]] | None:
    """Return how two answers differ, and in which rows; None where floats are equal within a share of the largest.

    Rows where the wanted answer is not finite are left out.
    """
    if got is None:
        return "no such output", []
    if wanted.shape != got.shape:
        return f"shape {list(got.shape)} instead of {list(wanted.shape)}", []
    if wanted.dtype != got.dtype:
        return f"{got.dtype} instead of {wanted.dtype}", []
    if wanted.dtype.kind != "f":
        unequal = np.asarray(wanted != got)
    else:
        finite = np.isfinite(wanted)
        magnitude = float(np.abs(wanted[finite].astype(np.float64)).max(initial=0.0))
        with np.errstate(invalid="ignore"):
            apart = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
        whole = finite.reshape(len(finite), -1).all(axis=1) if finite.ndim else finite
        counted = finite & whole.reshape(-1, *[1] * (finite.ndim - 1)) if finite.ndim else finite
        unequal = counted & ~(apart <= share * magnitude + 1e-30)
    if not unequal.any():
        return None
    place = tuple(int(each[0]) for each in np.nonzero(np.atleast_1d(unequal)))
    first, second = (np.atleast_1d(each)[place] for each in (wanted, got))
    rows = sorted({int(each) for each in np.nonzero(np.atleast_1d(unequal))[0]})
    return f"{second!r} instead of {first!r} at {list(place)} ({int(unequal.sum())} of {unequal.size})", rows


def _steady(source: Run, arrays: Arrays, name: str, answer: Array, rows: Sequence[int]) -> bool:
    """Whether the source's own answer to some of the rows stays, if its input changes by rounding."""
    moved: set[int] = set()
    for direction in (-np.inf, np.inf):
        near = {
            key: np.nextafter(array, array.dtype.type(direction)) if array.dtype.kind == "f" else array
            for key, array in arrays.items()
        }
        try:
            found = differing(answer, _arrays(source(near))[name])
        except (VerificationError, KeyError):
            continue
        moved |= set(found[1] or rows) if found else set()
    return not rows or bool(set(rows) - moved)


def _arrays(answers: Mapping[str, Any]) -> Mapping[str, Array]:
    return {name: np.asarray(answer) for name, answer in answers.items()}


def with_edges(data: Data, edges: Sequence[float]) -> Data:
    """Return data that knows more numbers that a model compares with."""
    finite = [float(each) for each in edges if np.isfinite(each) and abs(each) < 1e30]
    return replace(data, edges=tuple(dict.fromkeys((*data.edges, *finite))))


def edges_of(path: Path) -> list[float]:
    """Return the numbers that an ONNX file compares its input with, as far as they are seen: thresholds and bounds."""
    import onnx

    model = onnx.load(str(path))
    found: list[float] = []
    for graph in graphs(model):
        small = [each for each in getattr(graph, "initializer", ()) if _is_small(each)]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in ("nodes_values", "boundaries"):
                    found += list(attribute.floats)
                if attribute.HasField("t") and _is_small(attribute.t):
                    small.append(attribute.t)
        for tensor in small:
            found += onnx.numpy_helper.to_array(tensor).ravel().tolist()
    return found


def _is_small(tensor: Any) -> bool:
    return tensor.data_type in (1, 11) and np.prod(tensor.dims, dtype=int) <= 8
