"""Ensembles of decision trees in a graph: which leaves inputs reach, and inputs that reach a leaf."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array

LEAF = "LEAF"
# How the name of a behaviour begins that only a model with missing values can show.
MISSING = "a missing value"
# How a node of ai.onnx.ml compares a value with its own; NaN compares false.
COMPARE = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}
MODES = (LEAF, *COMPARE)


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees as arrays of the same length; children and parents are places in them."""

    features: Array
    values: Array
    modes: Array  # places in MODES
    if_true: Array
    if_false: Array
    missing_true: Array
    roots: Array
    parents: Array  # -1 for roots

    @cached_property
    def leaves(self) -> Array:
        """The places of the leaves."""
        return np.flatnonzero(self.modes == 0)

    @cached_property
    def splits(self) -> Array:
        """The places of the nodes that a missing value of their column can reach: those above send it there."""
        return np.array([place for place in np.flatnonzero(self.modes != 0) if self._is_missable(int(place))], int)

    def _is_missable(self, place: int) -> bool:
        feature, child = self.features[place], place
        while (parent := int(self.parents[child])) >= 0:
            if self.features[parent] == feature and self.missing_true[parent] != (self.if_true[parent] == child):
                return False
            child = parent
        return True

    def walked(self, table: Array) -> tuple[Array, Array]:
        """Return which nodes the rows of a table reach, and at which of them the compared value was missing."""
        at = np.repeat(self.roots[np.newaxis], len(table), axis=0)
        rows = np.arange(len(table))[:, np.newaxis]
        reached, missing = np.zeros(len(self.modes), bool), np.zeros(len(self.modes), bool)
        while True:
            reached[at.ravel()] = True
            inner = self.modes[at] != 0
            if not inner.any():
                return reached, missing
            value = table[rows, self.features[at]]
            absent = np.isnan(value) & inner
            missing[at[absent]] = True
            true = np.zeros(at.shape, bool)
            for number, compare in enumerate(COMPARE.values(), 1):
                chosen = self.modes[at] == number
                true[chosen] = compare(value[chosen], self.values[at][chosen])
            true |= absent & self.missing_true[at]
            at = np.where(inner, np.where(true, self.if_true[at], self.if_false[at]), at)

    def towards(self, place: int, row: Array) -> "Array | None":
        """Return a row that just reaches a node; None if none does.

        The column that its parent compares has the last value that leads there, and of the others as few are changed as
        needed.
        """
        nearest = ""
        last = int(self.features[self.parents[place]])
        low: dict[int, Any] = {}
        high: dict[int, Any] = {}
        exact: dict[int, float] = {}
        while self.parents[place] >= 0:
            parent = int(self.parents[place])
            mode, limit = MODES[self.modes[parent]], np.float32(self.values[parent])
            feature, taken = int(self.features[parent]), self.if_true[parent] == place
            below = np.nextafter(limit, np.float32(-np.inf))
            above = np.nextafter(limit, np.float32(np.inf))
            if not np.isfinite(limit):  # one side has only missing values
                if taken != (COMPARE[mode](np.float32(0), limit)):
                    exact[feature] = np.nan
            elif mode in ("BRANCH_EQ", "BRANCH_NEQ"):
                if taken == (mode == "BRANCH_EQ"):
                    exact[feature] = float(limit)
            else:
                least = {"BRANCH_LEQ": limit, "BRANCH_LT": below, "BRANCH_GTE": limit, "BRANCH_GT": above}[mode]
                rising = mode in ("BRANCH_GTE", "BRANCH_GT")
                if taken != rising:
                    bound = least if taken else (below if mode == "BRANCH_GTE" else limit)
                    high[feature] = min(high.get(feature, np.inf), bound)
                else:
                    bound = least if taken else (above if mode == "BRANCH_LEQ" else limit)
                    low[feature] = max(low.get(feature, -np.inf), bound)
            if not nearest:
                nearest = "low" if feature in low else "high"
            place = parent
        changed = row.copy()
        for feature in {*low, *high, *exact}:
            least, most = low.get(feature, -np.inf), high.get(feature, np.inf)
            if least > most:
                return None
            if feature in exact:
                changed[feature] = exact[feature]
            elif feature == last or not least <= changed[feature] <= most:
                changed[feature] = least if np.isfinite(least) and (feature != last or nearest == "low") else most
        return changed


def forest(attributes: Mapping[str, Any]) -> Forest:
    """Return the trees of a TreeEnsembleClassifier or -Regressor of ai.onnx.ml 1 to 3, by its attributes."""
    return _forest(_Key(attributes))


class _Key:
    """The attributes of one node, as a key of the cache."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = attributes

    def __hash__(self) -> int:
        return id(self.attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.attributes is self.attributes


@lru_cache(64)
def _forest(key: _Key) -> Forest:
    attributes = key.attributes
    trees, nodes = (np.asarray(attributes[name]) for name in ("nodes_treeids", "nodes_nodeids"))
    values = attributes.get("nodes_values_as_tensor")
    count = len(trees)
    values = np.asarray(attributes.get("nodes_values", np.zeros(count)) if values is None else values)
    modes = np.array([MODES.index(_text(each)) for each in attributes["nodes_modes"]])
    place = {pair: number for number, pair in enumerate(zip(trees.tolist(), nodes.tolist(), strict=True))}
    children = []
    for name in ("nodes_truenodeids", "nodes_falsenodeids"):
        ids = zip(trees.tolist(), attributes[name], modes.tolist(), strict=True)
        children.append(np.array([place[tree, child] if mode else 0 for tree, child, mode in ids]))
    parents = np.full(count, -1)
    for each in children:
        parents[each[modes != 0]] = np.flatnonzero(modes != 0)
    missing = attributes.get("nodes_missing_value_tracks_true") or [0] * count
    return Forest(
        features=np.asarray(attributes["nodes_featureids"]),
        values=values.astype(np.float64 if values.dtype == np.float64 else np.float32),
        modes=modes,
        if_true=children[0],
        if_false=children[1],
        missing_true=np.asarray(missing, bool),
        roots=np.flatnonzero(parents < 0),
        parents=parents,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def names(attributes: Mapping[str, Any]) -> Sequence[str]:
    """Return a behaviour for each leaf, and for a missing value at each split."""
    trees = forest(attributes)
    leaves = (f"leaf {number} of {len(trees.leaves)}" for number in range(1, len(trees.leaves) + 1))
    missing = (f"{MISSING} of column {int(trees.features[place])} at a split" for place in trees.splits)
    return (*leaves, *missing)


def seen(attributes: Mapping[str, Any], operands: Sequence[Any]) -> "Array | None":
    """Return which leaves were reached, and at which splits a value was missing."""
    trees, table = forest(attributes), operands[0]
    if table.ndim != 2 or table.dtype.kind not in "fiu":
        return None
    reached, missing = trees.walked(table.astype(trees.values.dtype))
    return np.concatenate([reached[trees.leaves], missing[trees.splits]])
