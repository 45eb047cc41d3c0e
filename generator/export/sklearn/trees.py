"""Trees of scikit-learn with missing values, several outputs and float64.

skl2onnx 1.20 routes every missing value to the right (onnx/sklearn-onnx#1253), gives all outputs of a classifier the
number of classes of the largest, and writes regressors of float64 that ONNX Runtime refuses (no issues known).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from modelrepo.generator.export.sklearn.nodes import ML, Nodes, number_type, whole

CONVERTERS = ("decision_tree", "random_forest", "gradient_boosting", "isolation_forest")


@contextmanager
def exact_trees() -> Iterator[None]:
    """Let skl2onnx read trees with their missing values, limits and categories while it converts."""
    import importlib

    from skl2onnx.common import tree_ensemble

    name = "add_tree_to_attribute_pairs"
    own = _with_missing(tree_ensemble.add_tree_to_attribute_pairs)
    with ExitStack() as stack:
        for place in CONVERTERS:
            module = importlib.import_module(f"skl2onnx.operator_converters.{place}")
            stack.enter_context(patch.object(module, name, own))
        yield


def _with_missing(add: Callable[..., None]) -> Callable[..., None]:
    """Return skl2onnx's function that adds a tree, which then routes missing values as the tree does."""

    def added(attributes: dict[str, list[Any]], is_classifier: bool, tree: Any, *rest: Any, **more: Any) -> None:
        start = len(attributes["nodes_modes"])
        add(attributes, is_classifier, tree, *rest, **more)
        missing = getattr(tree, "missing_go_to_left", None)
        if missing is not None:
            modes = attributes["nodes_modes"][start:]
            tracks = [int(left and mode != "LEAF") for left, mode in zip(missing, modes, strict=True)]
            attributes["nodes_missing_value_tracks_true"][start:] = tracks

    return added


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Convert a tree or forest as skl2onnx does, unless it classifies several outputs or gets float64."""
    from skl2onnx.common._registration import get_converter

    if hasattr(operator.raw_operator, "classes_") and getattr(operator.raw_operator, "n_outputs_", 1) > 1:
        return _several_outputs(scope, operator, container)
    if number_type(operator.inputs) == "float64":
        return _in_float32(scope, operator, container)
    return get_converter(_own_alias(operator))(scope, operator, container)  # type: ignore[no-any-return]


def shapes(operator: Any) -> None:
    """Set the types of ``convert``."""
    from skl2onnx.common._registration import get_shape_calculator

    if hasattr(operator.raw_operator, "classes_") and getattr(operator.raw_operator, "n_outputs_", 1) > 1:
        return _several_outputs_shapes(operator)
    return get_shape_calculator(_own_alias(operator))(operator)  # type: ignore[no-any-return]


def _own_alias(operator: Any) -> str:
    """Return the name of skl2onnx's own converter for the estimator of an operator."""
    return f"Sklearn{type(operator.raw_operator).__name__}"


def _in_float32(scope: Any, operator: Any, container: Any) -> None:
    """Convert a tree that gets float64: scikit-learn's trees compare it as float32, and so does the graph."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    nodes = Nodes(scope, container)
    rows = scope.declare_local_variable("rows", FloatTensorType(operator.inputs[0].type.shape))
    inner = scope.declare_local_operator(_own_alias(operator), operator.raw_operator)
    inner.inputs.append(rows)
    nodes.cast(nodes.joined(operator.inputs, "float32"), "float32", result=rows.onnx_name)
    for output in operator.outputs:
        exact = isinstance(output.type, DoubleTensorType)
        own = scope.declare_local_variable("answer", FloatTensorType() if exact else output.type.__class__())
        inner.outputs.append(own)
        if exact:
            nodes.cast(own.onnx_name, "float64", result=output.full_name)
        else:
            nodes.add("Identity", own.onnx_name, result=output.full_name)


def _several_outputs(scope: Any, operator: Any, container: Any) -> None:
    """Convert a tree or forest that classifies several outputs: labels (batch, outputs), a list of probabilities.

    Each output has its own regression ensemble, which answers the mean of its leaves' shares.
    """
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    rows = nodes.cast(nodes.joined(operator.inputs, number_type(operator.inputs)), np.float32)
    trees = [each.tree_ for each in getattr(own, "estimators_", [own])]
    labels, probabilities = [], []
    for place, classes in enumerate(own.classes_):
        attributes = _shares(trees, place, len(classes))
        shares = nodes.add("TreeEnsembleRegressor", rows, domain=ML, op_version=1, **attributes)
        texts = classes.dtype.kind in "OUS"
        index = nodes.add("ArgMax", shares, axis=1, keepdims=1)
        labels.append(nodes.add("Gather", classes.astype(object) if texts else whole(classes), index, axis=0))
        probabilities.append(shares)
    nodes.add("Concat", *labels, axis=1, result=operator.outputs[0].full_name)
    nodes.add("SequenceConstruct", *probabilities, result=operator.outputs[1].full_name)


def _several_outputs_shapes(operator: Any) -> None:
    """Set the types of ``_several_outputs``."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, SequenceType, StringTensorType

    own = operator.raw_operator
    kind = StringTensorType if own.classes_[0].dtype.kind in "OUS" else Int64TensorType
    operator.outputs[0].type = kind([None, own.n_outputs_])
    operator.outputs[1].type = SequenceType(FloatTensorType([None, None]))


def _shares(trees: list[Any], output: int, classes: int) -> dict[str, Any]:
    """Return the attributes of an ensemble with the share of each class of one output."""
    import numpy as np
    from skl2onnx.common import tree_ensemble

    attributes: dict[str, Any] = tree_ensemble.get_default_tree_regressor_attribute_pairs()
    for number, tree in enumerate(trees):
        values = tree.value[:, output, :classes]
        shares = values / np.maximum(values.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        one = _OneOutput(tree, shares[:, np.newaxis, :])
        add = _with_missing(tree_ensemble.add_tree_to_attribute_pairs)
        add(attributes, False, one, number, 1 / len(trees), 0, False, True, dtype=np.float32)
    return {**attributes, "n_targets": classes}


class _OneOutput:
    """A tree with other values in its nodes."""

    def __init__(self, tree: Any, value: Any) -> None:
        self.tree, self.value = tree, value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tree, name)
