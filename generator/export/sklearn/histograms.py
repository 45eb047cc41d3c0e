"""Histogram gradient boosting, with exact limits and categories.

skl2onnx 1.20 rounds its limits to the nearest float32, takes its categories for numbers, and can't write its regressors
for float64 (no issues known).
"""

from typing import Any

from modelrepo.generator.export.sklearn.boosted import Boosted, Leaf, Split, classified, of_two, summed
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type


def classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a HistGradientBoostingClassifier; its categories are encoded by the step before it."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    answer = _answer(nodes, operator)
    if len(own.classes_) > 2:
        probabilities = nodes.add("Softmax", answer, axis=1)
    else:
        probabilities = of_two(nodes, nodes.add("Sigmoid", answer))
    classified(nodes, operator, probabilities, own.classes_)


def classifier_shapes(operator: Any) -> None:
    """Set the types of ``classifier``."""
    classes = operator.raw_operator.classes_
    operator.outputs[0].type = tensor_type(object if classes.dtype.kind in "OUS" else "int64")
    operator.outputs[1].type = tensor_type(number_type(operator.inputs), len(classes))


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a HistGradientBoostingRegressor."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    answer = _answer(nodes, operator)
    if type(own._loss.link).__name__ == "LogLink":
        answer = nodes.add("Exp", answer)
    nodes.cast(answer, number_type(operator.inputs), result=operator.outputs[0].full_name)


def regressor_shapes(operator: Any) -> None:
    """Set the type of ``regressor``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), 1)


def _answer(nodes: Nodes, operator: Any) -> str:
    import numpy as np

    own, kind = operator.raw_operator, number_type(operator.inputs)
    trees = tuple(_nodes(tree, target) for trees in own._predictors for target, tree in enumerate(trees))
    base = tuple(float(each) for each in np.ravel(own._baseline_prediction))
    return summed(nodes, nodes.joined(operator.inputs, kind), kind, Boosted(trees, base))


def _nodes(tree: Any, target: int) -> tuple[Split | Leaf, ...]:
    found: list[Split | Leaf] = []
    for place, node in enumerate(tree.nodes):
        if node["is_leaf"]:
            found.append(Leaf(place, target, float(node["value"])))
            continue
        ends, missing = (int(node["left"]), int(node["right"])), bool(node["missing_go_to_left"])
        if node["is_categorical"]:
            values = _categories(tree.raw_left_cat_bitsets[node["bitset_idx"]])
            found.append(Split(place, int(node["feature_idx"]), "BRANCH_EQ", values, *ends, missing))
        else:
            limit = float(node["num_threshold"])
            found.append(Split(place, int(node["feature_idx"]), "BRANCH_LEQ", (limit,), *ends, missing))
    return tuple(found)


def _categories(bits: Any) -> tuple[float, ...]:
    """Return the codes of a set of bits: 8 words of 32 bits."""
    return tuple(float(code) for code in range(256) if int(bits[code // 32]) >> code % 32 & 1)
