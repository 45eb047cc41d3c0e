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
