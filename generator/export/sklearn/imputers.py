"""Imputers and indicators of missing values.

skl2onnx 1.20 refuses missing values that are not a float, and whole numbers with a mean, drops the indicator and keeps
columns without any value (no issues known); texts are only imputed if what is missing is a text.
"""

from typing import Any

from modelrepo.generator.export.sklearn.nodes import ML, Nodes, is_text, is_whole, number_type, tensor_type, whole


def imputer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a SimpleImputer, with its indicator."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    kind = _kind(operator)
    rows = nodes.joined(operator.inputs, kind)
    missing = _missing(nodes, rows, kind, own.missing_values, len(own.statistics_))
    kept = _kept(own)
    values = np.asarray([own.statistics_[place] for place in kept]).astype(kind)[np.newaxis]
    chosen, holes = (nodes.add("Gather", each, whole(kept), axis=1) for each in (rows, missing))
    parts = [nodes.add("Where", holes, values, chosen)]
    if own.add_indicator and kind is not object:
        parts.append(nodes.cast(nodes.add("Gather", missing, whole(own.indicator_.features_), axis=1), kind))
    nodes.side_by_side(parts, result=operator.outputs[0].full_name)


def imputer_shapes(operator: Any) -> None:
    """Set the type of ``imputer``."""
    own = operator.raw_operator
    more = len(own.indicator_.features_) if own.add_indicator else 0
    operator.outputs[0].type = tensor_type(_kind(operator), len(_kept(own)) + more)


def indicator(scope: Any, operator: Any, container: Any) -> None:
    """Convert a MissingIndicator."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    kind = object if is_text(operator.inputs[0].type) else number_type(operator.inputs)
    missing = _missing(nodes, nodes.joined(operator.inputs, kind), kind, own.missing_values, own.n_features_in_)
    asked = nodes.add("Gather", missing, whole(own.features_), axis=1)
    nodes.cast(asked, "int64", result=operator.outputs[0].full_name)


def indicator_shapes(operator: Any) -> None:
    """Set the type of ``indicator``: int64, as truth values are served."""
    operator.outputs[0].type = tensor_type("int64", len(operator.raw_operator.features_))


def _kind(operator: Any) -> Any:
    """Return the type that scikit-learn imputes in: whole numbers stay whole unless a mean or median is computed."""
    own, kinds = operator.raw_operator, [each.type for each in operator.inputs]
    if any(map(is_text, kinds)):
        return object
    whole_values = all(float(each).is_integer() for each in own.statistics_)
    if all(map(is_whole, kinds)) and own.strategy in ("most_frequent", "constant") and whole_values:
        return "int64"
    return number_type(operator.inputs)


def _kept(imputer: Any) -> list[int]:
    """Return the places of the columns that have a value to impute; scikit-learn drops the others."""
    statistics = list(imputer.statistics_)
    if imputer.keep_empty_features:
        return list(range(len(statistics)))
    return [place for place, value in enumerate(statistics) if value is not None and value == value]


def _missing(nodes: Nodes, rows: str, kind: Any, value: Any, width: int) -> str:
    """Return where a matrix is missing; a text never is if a missing one is not a text."""
    import numpy as np

    if kind is object:
        is_known = isinstance(value, str)
        return nodes.cast(
            nodes.add(
                "LabelEncoder",
                rows,
                domain=ML,
                op_version=2,
                keys_strings=[value.encode() if is_known else b""],
                values_int64s=[int(is_known)],
                default_int64=0,
            ),
            "bool",
        )
    if value is not None and value == value:
        return nodes.add("Equal", rows, np.array([[value]]).astype(kind))
    if kind == "int64":  # a whole number is never NaN
        return nodes.add("Less", rows, np.full((1, width), np.iinfo(np.int64).min))
    return nodes.add("IsNaN", rows)


def neighbours(scope: Any, operator: Any, container: Any) -> None:
    """Convert a KNNImputer: the mean of the nearest rows that have the column, by their common columns.

    skl2onnx 1.20 refuses weights by distance, and ONNX Runtime fails on its graph for some rows (no issues known).
    """
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    rows = nodes.joined(operator.inputs, "float64")
    missing = _missing(nodes, rows, "float64", own.missing_values, own.n_features_in_)
    distances = _distances(nodes, rows, missing, own)
    parts = []
    for place in range(own.n_features_in_):
        donors = np.flatnonzero(~own._mask_fit_X[:, place])
        if not len(donors):
            if own.keep_empty_features:
                negative = nodes.add("Less", nodes.add("Gather", distances, whole([0]), axis=1), np.full(1, -1.0))
                parts.append(nodes.cast(negative, "float64"))  # always 0, as scikit-learn fills it
            continue
        column = nodes.add("Gather", rows, whole([place]), axis=1)
        hole = nodes.add("Gather", missing, whole([place]), axis=1)
        found = _nearest(nodes, nodes.add("Gather", distances, whole(donors), axis=1), own, own._fit_X[donors, place])
        parts.append(nodes.add("Where", hole, found, column))
    if own.add_indicator:
        parts.append(nodes.cast(nodes.add("Gather", missing, whole(own.indicator_.features_), axis=1), "float64"))
    nodes.cast(nodes.side_by_side(parts), number_type(operator.inputs), result=operator.outputs[0].full_name)


def neighbours_shapes(operator: Any) -> None:
    """Set the type of ``neighbours``."""
    own = operator.raw_operator
    kept = own.n_features_in_ if own.keep_empty_features else int((~own._mask_fit_X.all(axis=0)).sum())
    more = len(own.indicator_.features_) if own.add_indicator else 0
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), kept + more)


def _distances(nodes: Nodes, rows: str, missing: str, own: Any) -> str:
    """Return the distance to each fitted row by ``nan_euclidean_distances``; infinity if no column is common."""
    import numpy as np

    fitted = np.where(own._mask_fit_X, 0.0, own._fit_X).T.astype(np.float64)
    unknown = own._mask_fit_X.T.astype(np.float64)
    values = nodes.add("Where", missing, np.zeros((1, 1)), rows)
    own_squares = nodes.add("Mul", values, values)
    # In scikit-learn's order, since equally near rows are chosen by the rounding.
    squares = nodes.add("Mul", nodes.add("MatMul", values, fitted), np.full(1, -2.0))
    squares = nodes.add("Add", squares, nodes.add("ReduceSum", own_squares, whole([1]), keepdims=1))
    squares = nodes.add("Max", nodes.add("Add", squares, (fitted**2).sum(axis=0, keepdims=True)), np.zeros(1))
    squares = nodes.add("Sub", squares, nodes.add("MatMul", own_squares, unknown))
    squares = nodes.add("Sub", squares, nodes.add("MatMul", nodes.cast(missing, "float64"), fitted**2))
    squares = nodes.add("Max", squares, np.zeros(1))
    common = nodes.add("MatMul", nodes.cast(nodes.add("Not", missing), "float64"), 1.0 - unknown)
    mean = nodes.add("Div", squares, nodes.add("Max", common, np.ones(1)))
    distances = nodes.add("Sqrt", nodes.add("Mul", mean, np.full(1, float(own.n_features_in_))))
    return nodes.add("Where", nodes.add("Equal", common, np.zeros(1)), np.full(1, np.inf), distances)


def _nearest(nodes: Nodes, distances: str, own: Any, values: Any) -> str:
    """Return the mean of the nearest values, (batch, 1); of all values if no distance is known."""
    import numpy as np

    count = min(own.n_neighbors, len(values))
    near, place = (str(nodes.scope.get_unique_variable_name(name)) for name in ("near", "place"))
    name = nodes.scope.get_unique_operator_name("TopK")
    inputs = [distances, nodes.constant(whole([count]))]
    nodes.container.add_node("TopK", inputs, [near, place], name=name, axis=1, largest=0, sorted=1)
    found = nodes.add("Gather", np.asarray(values, np.float64), place, axis=0)
    known = nodes.cast(nodes.add("Less", near, np.full(1, np.inf)), "float64")
    weight = known
    if own.weights == "distance":
        same = nodes.add("Equal", near, np.zeros(1))
        any_same = nodes.add("ReduceSum", nodes.cast(same, "int64"), whole([1]), keepdims=1)
        shares = nodes.add("Div", np.ones(1), nodes.add("Where", same, np.ones(1), near))
        weight = nodes.add("Where", nodes.cast(any_same, "bool"), nodes.cast(same, "float64"), shares)
    total = nodes.add("ReduceSum", weight, whole([1]), keepdims=1)
    mean = nodes.add("ReduceSum", nodes.add("Mul", weight, found), whole([1]), keepdims=1)
    nothing = nodes.add("Equal", nodes.add("ReduceSum", known, whole([1]), keepdims=1), np.zeros(1))
    safe = nodes.add("Where", nothing, np.ones(1), total)
    return nodes.add("Where", nothing, np.full(1, float(np.mean(values))), nodes.add("Div", mean, safe))
