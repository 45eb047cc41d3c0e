"""How far the weights of two ONNX models are apart: tensor by tensor, a part at a time, whatever their size."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.graphs import walk
from modelrepo.generator.specs.tensors import Array

# Elements that are compared at a time: some 100 MB of memory.
PART = 1 << 21
# Of these types a part of the file is the elements themselves. Others are smaller than a byte, or text.
WHOLE = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20)


@dataclass(frozen=True)
class Tensor:
    """A constant of a model: where it is, and what it holds."""

    name: str
    proto: Any  # an onnx.TensorProto, its data here or in a file
    folder: Path  # of that file

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.proto.dims)

    @property
    def parameters(self) -> int:
        """How many elements it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def data_type(self) -> str:
        """Its type, as ONNX calls it."""
        import onnx

        return str(onnx.TensorProto.DataType.Name(self.proto.data_type))

    def parts(self) -> Iterator[Array]:
        """Yield its elements, flat, a part at a time; ValueError or OSError if its data can't be read."""
        values = self._mapped()
        for start in range(0, values.size, PART):
            yield np.asarray(values[start : start + PART])

    def digest(self) -> str:
        """Return the digest of its elements."""
        found = hashlib.sha256()
        for part in self.parts():
            found.update(np.ascontiguousarray(part).tobytes() if part.dtype != object else repr(part.tolist()).encode())
        return found.hexdigest()

    def _mapped(self) -> Array:
        import onnx
        from onnx import numpy_helper

        place = {entry.key: entry.value for entry in self.proto.external_data}
        if not place or self.proto.data_type not in WHOLE or not self.parameters:
            return np.asarray(numpy_helper.to_array(self.proto, str(self.folder))).reshape(-1)
        file = self.folder / place["location"]
        if not file.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"its data is outside of the version: {place['location']}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(self.proto.data_type)
        offset = int(place.get("offset", 0))
        found: Array = np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=(self.parameters,))
        return found


@dataclass(frozen=True)
class Change:
    """A constant that is in both models, and how far it is apart.

    ``changed`` counts the elements that differ. ``relative`` is the norm of the difference over that of the first, and
    ``largest`` the largest difference; both are None if they are not numbers: of texts, other shapes, infinite values.
    """

    name: str
    was: str  # its name in the first model
    shape: tuple[int, ...]
    data_type: str
    before: str  # its shape and type in the first model, if they are others
    parameters: int
    changed: int
    relative: float | None
    largest: float | None
    trouble: str = ""  # why it could not be compared


@dataclass(frozen=True)
class Weights:
    """What is different between the constants of two models. ``same`` counts those that are equal."""

    changed: tuple[Change, ...]
    renamed: tuple[tuple[str, str], ...]  # equal ones with another name
    removed: tuple[Tensor, ...]
    added: tuple[Tensor, ...]
    same: int
    parameters: int  # of all that are in both

    @property
    def changed_parameters(self) -> int:
        """How many elements differ, of the constants that are in both models."""
        return sum(each.changed for each in self.changed)


def constants(model: Any, folder: Path) -> dict[str, Tensor]:
    """Return the constants of a model by name: initializers, and what nodes hold, by their outputs."""
    found: dict[str, Tensor] = {}
    for graph in walk.graphs(model):
        for tensor in getattr(graph, "initializer", ()):  # functions have none
            found.setdefault(tensor.name, Tensor(tensor.name, tensor, folder))
        for node in graph.node:
            for attribute in filter(is_constant, node.attribute):
                name = node.output[0] if node.op_type == "Constant" else f"{node.output[0]}.{attribute.name}"
                found.setdefault(name, Tensor(name, _proto(attribute), folder))
    return found


def is_constant(attribute: Any) -> bool:
    """Whether an attribute of a node holds a tensor, or several real numbers, such as coefficients."""
    return attribute.HasField("t") or len(attribute.floats) > 1


def _proto(attribute: Any) -> Any:
    from onnx import numpy_helper

    return attribute.t if attribute.HasField("t") else numpy_helper.from_array(np.asarray(attribute.floats, np.float32))


def compared(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Weights:
    """Compare the constants of two models: by name, else by their elements, else by their shapes; each if unique."""
    pairs = {name: name for name in one if name in other}
    left = {name: tensor for name, tensor in one.items() if name not in pairs}
    right = {name: tensor for name, tensor in other.items() if name not in pairs}
    alike = _unique(left, right, _content(left, right))
    left = {name: tensor for name, tensor in left.items() if name not in alike}
    right = {name: tensor for name, tensor in right.items() if name not in alike.values()}
    shaped = _unique(left, right, lambda tensor: (tensor.data_type, tensor.shape))
    found = [compare(one[was], other[name]) for was, name in (pairs | shaped).items()]
    both = pairs | alike | shaped
    return Weights(
        changed=tuple(each for each in found if each.changed or each.before or each.trouble),
        renamed=tuple(alike.items()) + tuple((each.was, each.name) for each in found if _only_renamed(each)),
        removed=tuple(tensor for name, tensor in left.items() if name not in shaped),
        added=tuple(tensor for name, tensor in right.items() if name not in shaped.values()),
        same=sum(not (each.changed or each.before or each.trouble) for each in found) + len(alike),
        parameters=sum(other[name].parameters for name in both.values()),
    )


def _only_renamed(each: Change) -> bool:
    return each.was != each.name and not (each.changed or each.before or each.trouble)


def _content(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Any:
    """Return a function that tells tensors by their elements; only those are read that have a partner."""
    kinds = [{(each.data_type, each.shape) for each in tensors.values()} for tensors in (left, right)]
    shared = kinds[0] & kinds[1]

    def key(tensor: Tensor) -> Hashable:
        kind = (tensor.data_type, tensor.shape)
        try:
            return (*kind, tensor.digest()) if kind in shared else (tensor.name, id(tensor))
        except (ValueError, TypeError, OSError, KeyError):
            return (tensor.name, id(tensor))

    return key


def _unique(left: Mapping[str, Tensor], right: Mapping[str, Tensor], key: Any) -> dict[str, str]:
    """Return the names of tensors that only one of each side has in common."""
    mine = {name: key(tensor) for name, tensor in left.items()}
    theirs = {name: key(tensor) for name, tensor in right.items()}
    counts = Counter(mine.values()), Counter(theirs.values())
    names = {value: name for name, value in theirs.items()}
    return {name: names[value] for name, value in mine.items() if counts[0][value] == 1 and counts[1][value] == 1}


def compare(one: Tensor, other: Tensor) -> Change:
    """Compare two constants, a part at a time."""
    alike = one.shape == other.shape and one.data_type == other.data_type
    before = "" if alike else f"{one.data_type} {list(one.shape)}"
    changed, relative, largest, trouble = 0, None, None, ""
    if one.shape != other.shape:
        changed = other.parameters
    else:
        try:
            changed, relative, largest = _distance(one, other)
        except (ValueError, TypeError, OSError, KeyError) as error:
            trouble = f"it can't be read: {error}"
    return Change(
        other.name,
        one.name,
        other.shape,
        other.data_type,
        before,
        other.parameters,
        changed,
        relative,
        largest,
        trouble,
    )


def _distance(one: Tensor, other: Tensor) -> tuple[int, float | None, float | None]:
    """Return how many elements differ, the relative norm of the difference, and the largest one."""
    changed, squares, norm, largest = 0, 0.0, 0.0, 0.0
    for mine, theirs in zip(one.parts(), other.parts(), strict=True):
        if mine.dtype == object or theirs.dtype == object or mine.dtype.kind == "c":
            changed += int((mine != theirs).sum())
            squares = float("nan")
            continue
        if mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes():
            norm += float(np.square(mine.astype(np.float64)).sum())
            continue
        first, second = mine.astype(np.float64), theirs.astype(np.float64)
        differ = (first != second) & ~(np.isnan(first) & np.isnan(second))
        changed += int(differ.sum())
        distance = np.abs(first[differ] - second[differ])
        largest = float(np.maximum(largest, distance.max(initial=0.0)))  # NaN stays
        squares += float(np.square(distance).sum())
        norm += float(np.square(first).sum())
    relative = (squares / norm) ** 0.5 if norm else None
    return changed, _finite(relative), _finite(largest if np.isfinite(squares) else None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
