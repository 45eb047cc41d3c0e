"""The numbers that an estimator compares its columns with before it computes with them, and where it takes NaN."""

from collections.abc import Iterator
from typing import Any

from modelrepo.generator.sources.sklearn.boosters import is_booster, limits_of
from modelrepo.generator.sources.sklearn.estimators import (
    IDLE_STEPS,
    column_parts,
    is_column_transformer,
    parts_of,
    steps_of,
)

# The most edges of a column; of more, every so many are kept.
EDGES = 4096
# Computed columns are not told apart: trees behind a decomposition may get any number.
COMPUTED = 1024
# For each column that an estimator gets: the place of the model's column that it is, or None if it was computed.
Origins = list[int | None]
REFUSED, PASSED, ABSORBED = "refused", "passed", "absorbed"


def edges_of(estimator: Any, width: int) -> list[tuple[float, ...]]:
    """Return the edges of each of ``width`` columns, in order and each once: thresholds, bins, quantiles and knots."""
    import numpy as np

    found: list[list[float]] = [[] for _ in range(width)]
    for place, values in _edges(estimator, list(range(width))):
        if place is not None:
            found[place] += [float(value) for value in values]
    edges = []
    for each in found:
        known = np.unique(np.array(each, np.float64))
        known = known[np.isfinite(known)]
        edges.append(tuple(known[:: -(-len(known) // EDGES) or 1].tolist()))
    return edges


def compares_computed(estimator: Any, width: int) -> bool:
    """Whether an estimator compares numbers that it has computed, such as scaled ones, with edges of its own."""
    return any(place is None and len(values) for place, values in _edges(estimator, list(range(width))))


def _edges(estimator: Any, origins: Origins) -> Iterator[tuple[int | None, Any]]:
    """Yield the place of a column, None for a computed one, and the numbers that an estimator compares it with."""
    yield from zip(origins, _own_edges(estimator, len(origins)), strict=False)
    if is_column_transformer(estimator):
        for _, part, places in column_parts(estimator):
            if not isinstance(part, str):
                yield from _edges(part, [origins[place] for place in places])
        return
    steps = steps_of(estimator)
    for step in steps:
        yield from _edges(step, origins)
        origins = _behind(step, origins) or [None] * COMPUTED
    chosen = getattr(estimator, "estimators_features_", None)
    if chosen is not None:
        for places, part in zip(chosen, estimator.estimators_, strict=True):
            yield from _edges(part, [origins[place] for place in places])
    elif not steps:
        for part in parts_of(estimator):
            yield from _edges(part, origins)


def _own_edges(estimator: Any, width: int) -> list[Any]:
    """Return the numbers that an estimator itself compares each column with; nothing if it compares none."""
    if is_booster(estimator):
        return limits_of(estimator, max(width, estimator.n_features_in_))
    if hasattr(estimator, "tree_"):
        tree = estimator.tree_
        return [tree.threshold[tree.feature == place] for place in range(width)]
    if hasattr(estimator, "_predictors") and getattr(estimator, "_preprocessor", None) is None:
        nodes = [tree.nodes for trees in estimator._predictors for tree in trees]
        splits = [each[each["is_leaf"] == 0] for each in nodes]
        limits = [(each["feature_idx"], each["num_threshold"]) for each in splits]
        return [[limit for columns, own in limits for limit in own[columns == place]] for place in range(width)]
    if hasattr(estimator, "bin_edges_"):
        return list(estimator.bin_edges_)
    if hasattr(estimator, "quantiles_"):
        return list(estimator.quantiles_.T)
    if hasattr(estimator, "bsplines_"):
        return [spline.t for spline in estimator.bsplines_]
    if hasattr(estimator, "X_thresholds_"):
        return [estimator.X_thresholds_]
    if type(estimator).__name__ == "Binarizer":
        return [[estimator.threshold]] * width
    if getattr(estimator, "binarize", None) is not None and hasattr(estimator, "feature_log_prob_"):
        return [[estimator.binarize]] * width
    return []


def _behind(step: Any, origins: Origins) -> Origins | None:
    """Return what the columns behind a step of a pipeline are; None if the step computes all of them."""
    if step in IDLE_STEPS or (hasattr(step, "func") and step.func is None):
        return origins
    if steps_of(step):
        for each in steps_of(step):
            behind = _behind(each, origins)
            if behind is None:
                return None
            origins = behind
        return origins
    if hasattr(step, "statistics_") or (hasattr(step, "_fit_X") and hasattr(step, "missing_values")):
        return _behind_imputer(step, origins)
    if hasattr(step, "get_support") and hasattr(step, "transform"):
        return [origins[place] for place in step.get_support(indices=True)]
    if is_column_transformer(step):
        return _behind_columns(step, origins)
    return None


def _behind_imputer(imputer: Any, origins: Origins) -> Origins:
    statistics = getattr(imputer, "statistics_", None)
    kept: Origins = list(origins)
    if statistics is not None and not imputer.keep_empty_features:
        kept = [each for each, value in zip(origins, statistics, strict=False) if value is not None and value == value]
    marks = getattr(imputer, "indicator_", None)
    return [*kept, *([None] * len(marks.features_) if imputer.add_indicator and marks is not None else [])]


def _behind_columns(transformer: Any, origins: Origins) -> Origins:
    width = max((each.stop for each in transformer.output_indices_.values()), default=0)
    made: Origins = [None] * width
    for name, part, places in column_parts(transformer):
        own = transformer.output_indices_[name]
        behind = None if part == "drop" else _behind(part, [origins[place] for place in places])
        if behind is not None and len(behind) == own.stop - own.start:
            made[own] = behind
    return made


def takes_missing(estimator: Any, width: int) -> list[bool]:
    """Return whether an estimator takes NaN in each of ``width`` columns."""
    return [_missing(estimator, place) != REFUSED for place in range(width)]


def _missing(estimator: Any, place: int) -> str:
    """Return what becomes of NaN in a column: it is refused, passed on, or absorbed by something that replaces it."""
    if estimator in IDLE_STEPS:
        return PASSED
    if is_column_transformer(estimator):
        fates = [
            PASSED if isinstance(part, str) else _missing(part, places.index(place))
            for _, part, places in column_parts(estimator)
            if place in places and part != "drop"
        ]
        return next((fate for fate in (REFUSED, PASSED) if fate in fates), ABSORBED)
    if hasattr(estimator, "steps"):
        fates_in_turn = (_missing(step, place) for step in steps_of(estimator))
        return next((fate for fate in fates_in_turn if fate != PASSED), PASSED)
    return _own_missing(estimator, place)


def _own_missing(estimator: Any, place: int) -> str:
    from sklearn.utils import get_tags

    if is_booster(estimator):
        return ABSORBED
    if hasattr(estimator, "missing_values") and hasattr(estimator, "transform"):
        is_nan = estimator.missing_values != estimator.missing_values
        return ABSORBED if is_nan else REFUSED
    categories = getattr(estimator, "categories_", None)
    if isinstance(categories, list):
        known = place < len(categories) and any(each != each for each in categories[place].tolist())
        return ABSORBED if known or getattr(estimator, "handle_unknown", "error") != "error" else REFUSED
    if get_tags(estimator).input_tags.allow_nan:
        return PASSED
    # scikit-learn's own word on an estimator of pipelines is that of their first step.
    pipelines = [part for part in parts_of(estimator) if hasattr(part, "steps")]
    return PASSED if pipelines and all(_missing(part, place) != REFUSED for part in pipelines) else REFUSED
