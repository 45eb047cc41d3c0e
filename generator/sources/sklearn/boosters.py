"""What XGBoost's and LightGBM's estimators know of their columns: categories, and the numbers that they split at."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from modelrepo.generator.errors import SourceError


def package_of(estimator: Any) -> str:
    """Return the package that the class of an estimator is from."""
    return type(estimator).__module__.partition(".")[0]


def is_booster(estimator: Any) -> bool:
    """Whether an estimator is a fitted one of XGBoost or LightGBM."""
    return package_of(estimator) in ("xgboost", "lightgbm") and hasattr(estimator, "predict")


def refuse_own_objective(estimator: Any, what: str) -> None:
    """Raise SourceError for a classifier of LightGBM with an objective of the user's: it gives raw scores only."""
    own = callable(getattr(estimator, "objective", None))
    if own and package_of(estimator) == "lightgbm" and hasattr(estimator, "classes_"):
        raise SourceError(
            f"{what} was trained with an objective of its own, for which LightGBM has no probabilities and no labels",
            "Serve its booster, which answers its scores: model.booster_.save_model('model.txt'); or name one of "
            "LightGBM's objectives",
        )


def learner_of(estimator: Any) -> dict[str, Any]:
    """Return XGBoost's own description of its model: the ``learner`` of its JSON format."""
    learner: dict[str, Any] = json.loads(estimator.get_booster().save_raw("json"))["learner"]
    return learner


def frame_categories(estimator: Any) -> dict[int, list[Any]]:
    """Return the categories, by the place of their column, of a booster that was fitted on a data frame with such."""
    package = package_of(estimator)
    if package == "xgboost":
        return _of_xgboost(estimator)
    return _of_lightgbm(estimator) if package == "lightgbm" else {}


def _of_xgboost(estimator: Any) -> dict[int, list[Any]]:
    """XGBoost 3.1 and newer keep the categories: texts, with the ends of each, or numbers."""
    booster = estimator.get_booster()
    if "c" not in (booster.feature_types or ()):
        return {}
    inner = learner_of(estimator)["gradient_booster"]
    kept = inner.get("gbtree", inner)["model"].get("cats", {}).get("enc", [])
    found = {}
    for place, each in enumerate(kept):
        values, ends = each.get("values", []), each.get("offsets")
        if ends:
            if min(values) < 0:  # its bytes have a sign; it counts letters, and cuts what is left (no issue known)
                raise SourceError(
                    "XGBoost keeps no categories with letters outside of ASCII",
                    "Fit it on other names of these categories, or on an OrdinalEncoder's numbers of them",
                )
            found[place] = [bytes(values[at:to]).decode() for at, to in pairwise(ends)]
        elif values:
            found[place] = list(values)
    return found


def _of_lightgbm(estimator: Any) -> dict[int, list[Any]]:
    """LightGBM keeps the categories of the categorical columns in their order, but not which columns these are."""
    booster = estimator.booster_
    known = booster.pandas_categorical or []
    if not known:
        return {}
    described = booster.dump_model(num_iteration=1)
    infos = described["feature_infos"]
    names = described["feature_names"]
    places = [place for place, name in enumerate(names) if infos.get(name, {}).get("values")]
    if len(places) != len(known):
        raise SourceError(
            f"LightGBM keeps {len(known)} lists of categories, but uses {len(places)} columns with categories",
            "Fit it without categorical columns that are ordered or hold a single category",
        )
    return dict(zip(places, known, strict=True))


def nodes_of(structure: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a tree in LightGBM's dump, from the root on."""
    waiting = [structure]
    while waiting:
        node = waiting.pop()
        yield node
        if "left_child" in node:
            waiting += [node["left_child"], node["right_child"]]


def limits_of(estimator: Any, width: int) -> list[list[float]]:
    """Return the numbers that a booster compares each column with; of a column of categories, its categories."""
    found: list[list[float]] = [[] for _ in range(width)]
    if package_of(estimator) == "xgboost":
        inner = learner_of(estimator)["gradient_booster"]
        for tree in inner.get("gbtree", inner).get("model", {}).get("trees", ()):
            for place, left in enumerate(tree["left_children"]):
                if left != -1 and not (tree.get("split_type") or [0] * (place + 1))[place]:
                    found[tree["split_indices"][place]].append(tree["split_conditions"][place])
        return found
    for tree in estimator.booster_.dump_model()["tree_info"]:
        for node in nodes_of(tree["tree_structure"]):
            if "split_feature" in node and node["decision_type"] == "<=":
                found[node["split_feature"]].append(float(node["threshold"]))
    return found
