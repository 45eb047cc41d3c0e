"""Encoders of categories: infrequent, missing, dropped and unknown ones as scikit-learn encodes them.

skl2onnx 1.20 refuses categories that are not whole, encodes infrequent ones only of separate columns, fails on unknown
ones beside them (onnx/sklearn-onnx#1026), and takes missing ones for unknown or for 0 (no issue known). Here the
encoder itself is asked once for each category; the graph finds a category's place, and looks its answer up.
"""

import copy
from typing import Any

from modelrepo.generator.export.sklearn.nodes import ML, Nodes, is_text, is_whole, tensor_type, whole


def one_hot(scope: Any, operator: Any, container: Any) -> None:
    """Convert a OneHotEncoder. A category without a column of its own, such as a dropped one, has the place -1."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    parts = []
    for place, (column, kind) in enumerate(nodes.columns(operator.inputs)):
        ones, size = _ones(own, place), own._n_features_outs[place]
        if own.handle_unknown != "error":
            ones.append(_unknown_one(own, place, ones))
        index = nodes.add("Gather", whole(ones), _place(nodes, column, kind, own.categories_[place]), axis=0)
        if size:
            parts.append(nodes.add("Equal", index, whole([range(size)])))
    nodes.cast(nodes.side_by_side(parts), _kind(own), result=operator.outputs[0].full_name)


def one_hot_shapes(operator: Any) -> None:
    """Set the type of ``one_hot``: int64 if the encoder answers whole numbers, otherwise float32."""
    own = operator.raw_operator
    operator.outputs[0].type = tensor_type(_kind(own), sum(own._n_features_outs))


def _kind(encoder: Any) -> str:
    import numpy as np

    return "int64" if np.issubdtype(encoder.dtype, np.integer) else "float32"


def _ones(encoder: Any, place: int) -> list[int]:
    """Return which of its columns is 1 for each category of a column, -1 for none."""
    import numpy as np

    sparse = _plain(encoder)
    sparse.sparse_output = True
    answers = sparse.transform(_table(encoder)).tocoo()
    start = sum(encoder._n_features_outs[:place])
    found = np.full(answers.shape[0], -1)
    own = (answers.col >= start) & (answers.col < start + encoder._n_features_outs[place])
    found[answers.row[own]] = answers.col[own] - start
    return [int(each) for each in found[: len(encoder.categories_[place])]]


def _plain(encoder: Any) -> Any:
    """Return a copy that answers with arrays, also if ``set_output`` asked for data frames."""
    plain = copy.copy(encoder)
    plain._sklearn_output_config = {}
    return plain


def _unknown_one(encoder: Any, place: int, ones: list[int]) -> int:
    """Return which column is 1 for an unknown category: that of the infrequent ones, or none."""
    infrequent = getattr(encoder, "infrequent_categories_", None)
    if encoder.handle_unknown == "ignore" or infrequent is None or infrequent[place] is None:
        return -1
    first: int = encoder.categories_[place].tolist().index(infrequent[place].tolist()[0])
    return ones[first]


def ordinal(scope: Any, operator: Any, container: Any) -> None:
    """Convert an OrdinalEncoder."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    answers = _plain(own).transform(_table(own))
    parts = []
    for place, (column, kind) in enumerate(nodes.columns(operator.inputs)):
        codes = answers[: len(own.categories_[place]), place].tolist()
        if own.handle_unknown != "error":
            codes.append(own.unknown_value)
        parts.append(_looked_up(nodes, codes, _place(nodes, column, kind, own.categories_[place]), _kind(own)))
    nodes.side_by_side(parts, result=operator.outputs[0].full_name)


def ordinal_shapes(operator: Any) -> None:
    """Set the type of ``ordinal``: int64 if the encoder answers whole numbers, otherwise float32."""
    own = operator.raw_operator
    operator.outputs[0].type = tensor_type(_kind(own), len(own.categories_))


def target(scope: Any, operator: Any, container: Any) -> None:
    """Convert a TargetEncoder: unknown categories have the mean of the target."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    means = np.atleast_1d(own.target_mean_)
    parts = []
    for place, (column, kind) in enumerate(nodes.columns(operator.inputs)):
        index = _place(nodes, column, kind, own.categories_[place])
        for number, mean in enumerate(means):
            encoding = [*np.asarray(own.encodings_[place * len(means) + number]).tolist(), mean]
            parts.append(_looked_up(nodes, encoding, index, "float32"))
    nodes.side_by_side(parts, result=operator.outputs[0].full_name)


def target_shapes(operator: Any) -> None:
    """Set the type of ``target``: float32."""
    operator.outputs[0].type = tensor_type("float32", len(operator.raw_operator.encodings_))


def _looked_up(nodes: Nodes, values: list[float], index: str, kind: str) -> str:
    import numpy as np

    return nodes.add("Gather", np.array(values, kind), index, axis=0)


def _table(encoder: Any) -> Any:
    """Return rows in which every category of every column occurs: the category k of a column is in row k."""
    import numpy as np

    rows = max(len(each) for each in encoder.categories_)
    columns = [each[np.minimum(np.arange(rows), len(each) - 1)] for each in encoder.categories_]
    same = len({each.dtype.kind for each in columns}) == 1
    return np.column_stack(columns if same else [each.astype(object) for each in columns])


def _place(nodes: Nodes, column: str, kind: Any, categories: Any) -> str:
    """Return the place of each value of a column (batch, 1) among the categories: their number for an unknown one.

    A place beyond a table fails there, as an encoder fails that accepts no unknown category.
    """
    import numpy as np

    values = categories.tolist()
    if is_text(kind):
        known = {each: place for place, each in enumerate(values) if isinstance(each, str)}
        return nodes.add(
            "LabelEncoder",
            column,
            domain=ML,
            op_version=2,
            keys_strings=[each.encode() for each in known],
            values_int64s=list(known.values()),
            default_int64=len(values),
        )
    if is_whole(kind) and all(isinstance(each, int) for each in values):
        return nodes.add(
            "LabelEncoder",
            nodes.cast(column, "int64"),
            domain=ML,
            op_version=2,
            keys_int64s=[int(each) for each in values],
            values_int64s=list(range(len(values))),
            default_int64=len(values),
        )
    numbers = np.array([[np.nan if each is None else each for each in values]], np.float64)
    column = nodes.cast(column, "float64")  # a number of float32 is a category only if both are exactly the same
    found = nodes.add("Equal", column, numbers)
    missing = nodes.add("IsNaN", column)
    if np.isnan(numbers).any():
        found = nodes.add("Or", found, nodes.add("And", missing, np.isnan(numbers)))
    otherwise = nodes.add("Or", missing, nodes.add("Not", missing))
    return nodes.add("ArgMax", nodes.cast(nodes.side_by_side([found, otherwise]), "float32"), axis=1, keepdims=1)
