"""Boosted trees as one TreeEnsembleRegressor, whose limits and missing values are those of the booster.

onnxmltools 1.16, which this replaces, refuses missing values other than NaN, takes zeros that mean missing for numbers
(onnx/onnx#6280), rounds limits to the nearest float32, compares categories that are not whole, divides each forest of
LightGBM by 100, and ignores the weights of dart (no issues known).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.export.sklearn.nodes import ML, Nodes, is_text, number_type, whole


@dataclass(frozen=True)
class Split:
    """A node that compares a column: to ``true`` if it is in ``values``, or below the only one, to ``false`` if not."""

    place: int
    column: int
    mode: str  # BRANCH_LEQ, BRANCH_LT or BRANCH_EQ
    values: tuple[float, ...]
    true: int
    false: int
    missing_to_true: bool


@dataclass(frozen=True)
class Leaf:
    """A node that adds a value to one target."""

    place: int
    target: int
    value: float


@dataclass(frozen=True)
class Boosted:
    """The trees of a booster, and what it adds to each target."""

    trees: tuple[tuple[Split | Leaf, ...], ...]
    base: tuple[float, ...]


def columns_of(nodes: Nodes, inputs: Iterable[Any], categories: dict[int, list[Any]]) -> tuple[str, Any]:
    """Return the inputs as one matrix, and its type: a text or number is its place among a column's categories.

    One that is not among them is missing.
    """
    kind = number_type(inputs)
    if not categories:
        return nodes.joined(inputs, kind), kind
    parts = []
    for place, (column, own) in enumerate(nodes.columns(inputs)):
        values = categories.get(place)
        if values is None:
            parts.append(nodes.cast(column, kind))
            continue
        texts = is_text(own)
        keys: dict[str, Any] = {"keys_strings": [str(each).encode() for each in values]}
        if not texts:
            keys = {"keys_int64s": [int(each) for each in values]}
        code = nodes.add(
            "LabelEncoder",
            column if texts else nodes.cast(column, "int64"),
            domain=ML,
            op_version=2,
            **keys,
            values_floats=[float(number) for number in range(len(values))],
            default_float=float("nan"),
        )
        parts.append(nodes.cast(code, kind))
    return nodes.side_by_side(parts), kind


def summed(nodes: Nodes, rows: str, kind: Any, boosted: Boosted) -> str:
    """Return the sum of the trees' leaves for each row, float32 (batch, targets)."""
    import numpy as np

    table: dict[str, list[Any]] = {name: [] for name in (*NODE, *TARGET)}
    for number, tree in enumerate(boosted.trees):
        more = max(node.place for node in tree) + 1
        for node in tree:
            if isinstance(node, Leaf):
                if table["nodes_nodeids"][-1:] != [node.place] or table["nodes_treeids"][-1] != number:
                    _add(table, NODE, number, node.place, 0, "LEAF", 0.0, 0, 0, 0)
                _add(table, TARGET, number, node.place, node.target, node.value)
                continue
            values = node.values or (-1.0,)  # no category has this code
            for at, value in enumerate(values):
                place = node.place if at == 0 else more + at - 1
                false = node.false if at == len(values) - 1 else more + at
                missing = int(node.missing_to_true)
                _add(table, NODE, number, place, node.column, node.mode, value, node.true, false, missing)
            more += len(values) - 1
    exact = kind == np.dtype("float64")
    numbers = {"nodes_values": limits(table, kind), "target_weights": np.array(table["target_weights"], kind)}
    numbers["base_values"] = np.array(boosted.base, kind)
    attributes: dict[str, Any] = {name: each for name, each in table.items() if name not in numbers}
    for name, array in numbers.items():
        attributes[f"{name}_as_tensor" if exact else name] = _tensor(name, array) if exact else array.tolist()
    attributes |= {"n_targets": len(boosted.base), "post_transform": "NONE"}
    return nodes.add("TreeEnsembleRegressor", rows, domain=ML, op_version=3 if exact else 1, **attributes)


NODE = tuple(
    f"nodes_{name}"
    for name in (
        *("treeids", "nodeids", "featureids", "modes", "values"),
        *("truenodeids", "falsenodeids", "missing_value_tracks_true"),
    )
)
TARGET = tuple(f"target_{name}" for name in ("treeids", "nodeids", "ids", "weights"))


def _add(table: dict[str, list[Any]], names: tuple[str, ...], *values: Any) -> None:
    for name, value in zip(names, values, strict=True):
        table[name].append(value)


def limits(table: dict[str, list[Any]], kind: Any) -> Any:
    """Return what nodes compare with, so that each number of a type is on the same side as of the exact limit."""
    import numpy as np

    exact = np.array(table["nodes_values"], np.float64)
    with np.errstate(over="ignore"):
        own = exact.astype(kind)
    modes = np.array(table["nodes_modes"])
    above = (modes == "BRANCH_LEQ") & (own > exact)
    below = (modes == "BRANCH_LT") & (own < exact)
    infinity = np.dtype(kind).type(np.inf)
    return np.where(above, np.nextafter(own, -infinity), np.where(below, np.nextafter(own, infinity), own))


def _tensor(name: str, array: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def classified(nodes: Nodes, operator: Any, probabilities: str, classes: Any, label: str = "") -> None:
    """Write the outputs of a classifier: the label of the largest probability, or ``label``, and the probabilities."""
    import numpy as np

    texts = np.asarray(classes).dtype.kind in "OUS"
    place = label or nodes.add("ArgMax", probabilities, axis=1, keepdims=0)
    nodes.add(
        "Gather",
        np.asarray(classes, object) if texts else whole(classes),
        place,
        axis=0,
        result=operator.outputs[0].full_name,
    )
    nodes.cast(probabilities, number_type(operator.inputs), result=operator.outputs[1].full_name)


def of_two(nodes: Nodes, probability: str) -> str:
    """Return the probabilities of both classes, from that of the second."""
    import numpy as np

    return nodes.side_by_side([nodes.add("Sub", np.ones((1, 1), np.float32), probability), probability])
