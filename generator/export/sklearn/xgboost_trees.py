"""XGBoost's trees: its own JSON format read as nodes, and its objectives as operators."""

from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.boosted import (
    Boosted,
    Leaf,
    Split,
    classified,
    columns_of,
    of_two,
    summed,
)
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole
from modelrepo.generator.sources.sklearn.boosters import frame_categories, learner_of

# What objectives make of the sum of the leaves, and of the base score, which they keep as an answer.
EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
LOGISTIC = ("binary:logistic", "reg:logistic")
IDENTITY = (
    *("reg:squarederror", "reg:linear", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror"),
    *("reg:quantileerror", "reg:expectileerror", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw"),
)
STEP = "binary:hinge"
# The estimators answer the same probabilities for both.
SOFTMAX = ("multi:softprob", "multi:softmax")


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a regressor or a ranker."""
    nodes = Nodes(scope, container)
    learner = learner_of(operator.raw_operator)
    answer = _answer(nodes, operator, learner)
    nodes.cast(answer, number_type(operator.inputs), result=operator.outputs[0].full_name)


def classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a classifier of one label, or of several that are each 0 or 1."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    learner = learner_of(own)
    answer = _answer(nodes, operator, learner)
    if learner["objective"]["name"] in SOFTMAX:
        return classified(nodes, operator, answer, own.classes_)
    above = nodes.cast(nodes.add("Greater", answer, np.float32(0.5)), "int64")
    if _targets(learner) > 1:
        nodes.add("Identity", above, result=operator.outputs[0].full_name)
        nodes.cast(answer, number_type(operator.inputs), result=operator.outputs[1].full_name)
        return None
    place = nodes.add("Squeeze", above, whole([1]))
    return classified(nodes, operator, of_two(nodes, answer), own.classes_, place)


def classifier_shapes(operator: Any) -> None:
    """Set the types of ``classifier``."""
    own = operator.raw_operator
    targets = _targets(learner_of(own))
    operator.outputs[0].type = tensor_type("int64", *([targets] if targets > 1 else []))
    operator.outputs[1].type = tensor_type(number_type(operator.inputs), targets if targets > 1 else len(own.classes_))


def regressor_shapes(operator: Any) -> None:
    """Set the type of ``regressor``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), _width(learner_of(operator.raw_operator)))


def _targets(learner: dict[str, Any]) -> int:
    return int(learner["learner_model_param"].get("num_target", 1))


def _width(learner: dict[str, Any]) -> int:
    return max(1, int(learner["learner_model_param"]["num_class"]), _targets(learner))


def _answer(nodes: Nodes, operator: Any, learner: dict[str, Any]) -> str:
    """Return what the booster predicts, float32 (batch, targets)."""
    import numpy as np

    objective = learner["objective"]["name"]
    own = operator.raw_operator
    rows, _ = columns_of(nodes, operator.inputs, frame_categories(own))
    rows = nodes.cast(rows, np.float32)  # XGBoost keeps its input as float32
    if not np.isnan(own.missing):
        missing = nodes.add("Equal", rows, np.float32(own.missing))
        rows = nodes.add("Where", missing, np.float32(np.nan), rows)
    categorical = [place for place, each in enumerate(own.get_booster().feature_types or ()) if each == "c"]
    if categorical:  # 2.5 is in the category 2, and -0.5 in none
        wholes = np.isin(np.arange(int(learner["learner_model_param"]["num_feature"])), categorical)[np.newaxis]
        rows = nodes.add("Where", wholes, nodes.add("Floor", rows), rows)
    if learner["gradient_booster"]["name"] == "gblinear":
        answer = _weighed(nodes, rows, learner)
    else:
        answer = summed(nodes, rows, np.dtype("float32"), _boosted(own, learner))
    if objective in LOGISTIC:
        return nodes.add("Sigmoid", answer)
    if objective in EXPONENTIAL:
        return nodes.add("Exp", answer)
    if objective in SOFTMAX:
        return nodes.add("Softmax", answer, axis=1)
    if objective == STEP:
        return nodes.cast(nodes.add("Greater", answer, np.float32(0)), np.float32)
    if objective in IDENTITY:
        return answer
    raise ConversionError(
        f"XGBoost's objective {objective!r} has no converter", f"Fit one of {', '.join((*LOGISTIC, *SOFTMAX))}"
    )


def _weighed(nodes: Nodes, rows: str, learner: dict[str, Any]) -> str:
    """Return the sum of a linear booster, to which a missing value adds nothing: the weights, and then the bias.

    XGBoost adds the first base score to every target.
    """
    import numpy as np

    width = _width(learner)
    weights = np.array(learner["gradient_booster"]["model"]["weights"], np.float32).reshape(-1, width)
    known = nodes.add("Where", nodes.add("IsNaN", rows), np.zeros((1, 1), np.float32), rows)
    start = weights[-1:] + np.float32(_base(learner)[0])
    return nodes.add("Add", nodes.add("MatMul", known, weights[:-1]), start)


def _boosted(estimator: Any, learner: dict[str, Any]) -> Boosted:
    """Return the trees up to the best iteration, each with its weight."""
    gradient = learner["gradient_booster"]
    model = gradient.get("gbtree", gradient)["model"]
    best = learner.get("attributes", {}).get("best_iteration")
    ends = model.get("iteration_indptr")
    count = len(model["trees"]) if best is None or not ends else ends[min(int(best) + 1, len(ends) - 1)]
    weights = gradient.get("weight_drop", [1.0] * count)
    trees = tuple(
        tuple(_nodes(tree, model["tree_info"][number], weights[number], _width(learner)))
        for number, tree in enumerate(model["trees"][:count])
    )
    return Boosted(trees, _base(learner))


def _base(learner: dict[str, Any]) -> tuple[float, ...]:
    """Return what each target begins with: the base score before the objective's last function."""
    import json

    import numpy as np

    scores = np.atleast_1d(json.loads(learner["learner_model_param"]["base_score"])).astype(float)
    objective = learner["objective"]["name"]
    with np.errstate(divide="ignore"):
        if objective in LOGISTIC:
            scores = np.log(scores) - np.log1p(-scores)
        elif objective in EXPONENTIAL:
            scores = np.log(scores)
    return tuple(float(each) for each in np.broadcast_to(scores, (_width(learner),)))


def _nodes(tree: dict[str, Any], target: int, weight: float, width: int) -> list[Split | Leaf]:
    """Return the nodes of a tree; XGBoost sends the categories of a node to the right, and unknown ones to the left."""
    import numpy as np

    sets = zip(*(tree.get(f"categories_{name}", ()) for name in ("nodes", "segments", "sizes")), strict=True)
    categories = {node: tree["categories"][start : start + count] for node, start, count in sets}
    size = int(tree["tree_param"].get("size_leaf_vector", 1))
    found: list[Split | Leaf] = []
    for place, (left, right) in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
        limit = float(np.float32(tree["split_conditions"][place]))  # written with the fewest digits that tell it
        if left == -1 and size > 1:
            vector = tree["leaf_weights"][right * size : right * size + size]
            found += [Leaf(place, number, value * weight) for number, value in enumerate(vector)]
        elif left == -1:
            found.append(Leaf(place, target, limit * weight))
        else:
            place_of, to_left = tree["split_indices"][place], bool(tree["default_left"][place])
            if place in categories:
                values = tuple(map(float, categories[place]))
                found.append(Split(place, place_of, "BRANCH_EQ", values, right, left, not to_left))
            else:
                found.append(Split(place, place_of, "BRANCH_LT", (limit,), left, right, to_left))
    return found
