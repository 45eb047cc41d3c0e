"""Dummy estimators, which answer the same for every row (skl2onnx 1.20 has no converter; no issue known)."""

from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole

STEADY = ("most_frequent", "prior", "constant")


def classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a DummyClassifier of one label whose strategy is not to draw."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    if own.strategy not in STEADY or own.n_outputs_ > 1:
        why = "several outputs" if own.n_outputs_ > 1 else f"the strategy {own.strategy!r}, which draws its answers"
        raise ConversionError(f"can't convert a DummyClassifier with {why}", f"Fit it with one of {', '.join(STEADY)}")
    row = np.zeros((1, own.n_features_in_))
    label, shares = own.predict(row), own.predict_proba(row)
    texts = own.classes_.dtype.kind in "OUS"
    _repeated(nodes, operator, label.astype(object) if texts else whole(label), operator.outputs[0].full_name)
    _repeated(nodes, operator, shares.astype(number_type(operator.inputs)), operator.outputs[1].full_name)


def classifier_shapes(operator: Any) -> None:
    """Set the types of ``classifier``."""
    own = operator.raw_operator
    operator.outputs[0].type = tensor_type(object if own.classes_.dtype.kind in "OUS" else "int64")
    operator.outputs[1].type = tensor_type(number_type(operator.inputs), len(own.classes_))


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a DummyRegressor."""
    kind = number_type(operator.inputs)
    _repeated(
        Nodes(scope, container), operator, operator.raw_operator.constant_.astype(kind), operator.outputs[0].full_name
    )


def regressor_shapes(operator: Any) -> None:
    """Set the type of ``regressor``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), operator.raw_operator.constant_.shape[1])


def _repeated(nodes: Nodes, operator: Any, values: Any, result: str) -> None:
    """Write one row of values for each row of the inputs."""
    import numpy as np

    rows = nodes.add("Shape", operator.inputs[0].full_name, start=0, end=1)
    places = nodes.add("Expand", np.zeros(1, np.int64), rows)
    nodes.add("Gather", values, places, axis=0, result=result)
