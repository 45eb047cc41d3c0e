"""LightGBM's trees: its dump read as nodes, zeros that mean missing, and its objectives as operators."""

from collections.abc import Iterator
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.boosted import Boosted, Leaf, Split, classified, columns_of, of_two, summed
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole
from modelrepo.generator.sources.sklearn.boosters import frame_categories

# Numbers that LightGBM takes for zero: kZeroThreshold of its include/LightGBM/meta.h, a float.
ZERO = 1e-35
EXPONENTIAL = ("poisson", "gamma", "tweedie")
IDENTITY = (
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"),
    *("l2", "l1", "mse", "mae"),
)


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a regressor or a ranker."""
    nodes = Nodes(scope, container)
    answer = _answer(nodes, operator)
    nodes.cast(answer, number_type(operator.inputs), result=operator.outputs[0].full_name)


def classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a classifier; with two equal probabilities its label is the first class."""
    nodes = Nodes(scope, container)
    answer = _answer(nodes, operator)
    classes = operator.raw_operator.classes_
    classified(nodes, operator, answer if len(classes) > 2 else of_two(nodes, answer), classes)


def classifier_shapes(operator: Any) -> None:
    """Set the types of ``classifier``."""
    classes = operator.raw_operator.classes_
    operator.outputs[0].type = tensor_type(object if classes.dtype.kind in "OUS" else "int64")
    operator.outputs[1].type = tensor_type(number_type(operator.inputs), len(classes))


def regressor_shapes(operator: Any) -> None:
    """Set the type of ``regressor``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), 1)


def _answer(nodes: Nodes, operator: Any) -> str:
    """Return what the booster predicts, float32 (batch, targets)."""
    import numpy as np

    own = operator.raw_operator
    described = own.booster_.dump_model()
    rows, kind = columns_of(nodes, operator.inputs, frame_categories(own))
    zeros, categories = _special(described)
    width = described["max_feature_idx"] + 1
    places = {}
    for number, place in enumerate([*zeros, *categories]):
        places[place, place in categories and number >= len(zeros)] = width + number
    more = []
    if zeros:
        chosen = nodes.add("Gather", rows, whole(zeros), axis=1)
        small = nodes.add(
            "LessOrEqual", nodes.add("Abs", nodes.cast(chosen, "float64")), np.array([[np.float32(ZERO)]], np.float64)
        )
        more.append(nodes.add("Where", small, np.full((1, 1), np.nan, kind), chosen))
    if categories:  # 2.5 and 2 are the same category, as are -0.5 and 0
        chosen = nodes.add("Gather", rows, whole(categories), axis=1)
        below = nodes.add("Less", chosen, np.zeros((1, 1), kind))
        more.append(nodes.add("Where", below, nodes.add("Ceil", chosen), nodes.add("Floor", chosen)))
    rows = nodes.side_by_side([rows, *more]) if more else rows
    return _objective(nodes, summed(nodes, rows, kind, _boosted(described, places)), described)


def _special(described: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the columns whose zeros are missing in some node, and those of categories."""
    splits = [node for tree in described["tree_info"] for node in _walk(tree["tree_structure"]) if "threshold" in node]
    zeros = {
        node["split_feature"] for node in splits if node["missing_type"] == "Zero" and node["decision_type"] == "<="
    }
    categories = {node["split_feature"] for node in splits if node["decision_type"] == "=="}
    return sorted(zeros), sorted(categories)


def _boosted(described: dict[str, Any], places: dict[tuple[int, bool], int]) -> Boosted:
    """Return the trees; ``places`` has the columns to compare instead, by their own and whether by category."""
    targets = described["num_tree_per_iteration"]
    count = len(described["tree_info"])
    share = targets / count if described["average_output"] and count else 1.0
    trees = []
    for tree in described["tree_info"]:
        nodes = list(_walk(tree["tree_structure"]))
        own = {id(node): place for place, node in enumerate(nodes)}
        target = tree["tree_index"] % targets
        trees.append(tuple(_node(node, own, target, share, places) for node in nodes))
    return Boosted(tuple(trees), (0.0,) * targets)


def _node(
    node: dict[str, Any], own: dict[int, int], target: int, share: float, places: dict[tuple[int, bool], int]
) -> Split | Leaf:
    """Return a node, with the decisions of ``NumericalDecision`` and ``CategoricalDecision`` of LightGBM's tree.h."""
    place = own[id(node)]
    if "leaf_value" in node:
        if "leaf_const" in node:
            raise ConversionError("LightGBM's linear trees have no converter", "Fit without linear_tree")
        return Leaf(place, target, float(node["leaf_value"]) * share)
    column, left, right = node["split_feature"], own[id(node["left_child"])], own[id(node["right_child"])]
    if node["decision_type"] == "==":
        values = tuple(float(each) for each in str(node["threshold"]).split("||"))
        return Split(place, places[column, True], "BRANCH_EQ", values, left, right, False)
    limit = _limit(float(node["threshold"]))
    to_left = limit >= 0.0 if node["missing_type"] == "None" else bool(node["default_left"])
    column = places[column, False] if node["missing_type"] == "Zero" else column
    return Split(place, column, "BRANCH_LEQ", (limit,), left, right, to_left)


def _limit(limit: float) -> float:
    """Return a limit that is the same for 0 and for each number that LightGBM's prediction replaces by 0."""
    import numpy as np

    zero = float(np.float32(ZERO))
    if not -zero <= limit <= zero:
        return limit
    return zero if limit >= 0 else float(np.nextafter(-zero, -1.0))


def _walk(structure: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = [structure]
    while waiting:
        node = waiting.pop()
        yield node
        if "left_child" in node:
            waiting += [node["right_child"], node["left_child"]]


def _objective(nodes: Nodes, answer: str, described: dict[str, Any]) -> str:
    """Return the answer of an objective for the sum of the leaves: ``ConvertOutput`` of LightGBM's objectives."""
    import numpy as np

    name, *settings = described.get("objective", "regression").split(" ")
    given = dict(each.partition(":")[::2] for each in settings)
    if name in ("binary", "multiclassova"):
        return nodes.add("Sigmoid", nodes.add("Mul", answer, np.float32(given.get("sigmoid", 1))))
    if name in ("cross_entropy", "xentropy"):
        return nodes.add("Sigmoid", answer)
    if name in ("cross_entropy_lambda", "xentlambda"):
        return nodes.add("Softplus", answer)
    if name == "multiclass":
        return nodes.add("Softmax", answer, axis=1)
    if name in EXPONENTIAL:
        return nodes.add("Exp", answer)
    if name in IDENTITY:
        if "sqrt" in given:
            return nodes.add("Mul", answer, nodes.add("Abs", answer))
        return answer
    raise ConversionError(f"LightGBM's objective {name!r} has no converter", f"Fit one of {', '.join(IDENTITY[:6])}")
