"""Equivalent estimators that skl2onnx can convert; the given ones are not changed."""

import copy
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.sources.sklearn.estimators import IDLE_STEPS, column_parts, is_column_transformer

# Clusters whose label is the place of the nearest center.
CENTERED = ("AffinityPropagation", "MeanShift")


def equivalent(estimator: Any) -> Any:
    """Return an estimator with the same outputs that skl2onnx can convert; the given one if it already can."""
    searched = getattr(estimator, "best_estimator_", None)
    if searched is not None:
        return equivalent(searched)
    if hasattr(estimator, "steps"):
        return _pipeline(estimator)
    if is_column_transformer(estimator):
        return _by_place(estimator)
    if hasattr(estimator, "support_") and hasattr(estimator, "ranking_") and hasattr(estimator, "predict"):
        return _after_choice(estimator)
    if getattr(estimator, "_preprocessor", None) is not None:
        return _after_encoder(estimator)
    if hasattr(estimator, "_weights_not_none"):
        return _voting(_of_equivalents(estimator))
    if hasattr(estimator, "feature_log_prob_") and getattr(estimator, "binarize", None) is not None:
        return _after_threshold(estimator)
    if hasattr(estimator, "kneighbors") and not hasattr(
        estimator, "predict"
    ):  # is asked for a number of neighbours, at any distance
        return _changed(estimator, radius=None)
    if type(estimator).__name__ in CENTERED:
        return _nearest_center(estimator)
    if hasattr(estimator, "pooling_func"):
        return _pooled(estimator)
    return _of_equivalents(estimator)


def _pooled(clusters: Any) -> Any:
    """Return a FeatureAgglomeration as a projection: skl2onnx takes it for clusters of rows (no issue known)."""
    import numpy as np
    from sklearn.random_projection import SparseRandomProjection

    if clusters.pooling_func is not np.mean:
        name = getattr(clusters.pooling_func, "__name__", "of its own")
        raise ConversionError(
            f"can't convert a FeatureAgglomeration with the pooling function {name}", "Fit it with numpy's mean"
        )
    own = np.equal.outer(np.arange(clusters.n_clusters_), clusters.labels_).astype(float)
    return _changed(
        SparseRandomProjection(len(own), dense_output=True),
        components_=own / own.sum(axis=1, keepdims=True),
        n_components_=len(own),
        n_features_in_=clusters.n_features_in_,
    )


def _nearest_center(clusters: Any) -> Any:
    """Return clusters that only their centers tell apart as scikit-learn's best known of that kind."""
    from sklearn.cluster import KMeans

    centers = clusters.cluster_centers_
    return _changed(
        KMeans(len(centers)), cluster_centers_=centers, n_features_in_=centers.shape[1], _n_threads=1, n_iter_=1
    )


def _changed(estimator: Any, **attributes: Any) -> Any:
    """Return a shallow copy with some attributes replaced."""
    other = copy.copy(estimator)
    vars(other).update(attributes)
    return other


def _voting(estimator: Any) -> Any:
    """Return a vote with an array of the weights of those that vote; skl2onnx 1.20 takes no list (no issue known).

    A VotingClassifier's ``flatten_transform`` does not affect its predictions.
    """
    import numpy as np

    weights = estimator._weights_not_none
    other = _changed(estimator, weights=None if weights is None else np.array(weights))
    return _changed(other, flatten_transform=False) if hasattr(estimator, "flatten_transform") else other


def _after_threshold(estimator: Any) -> Any:
    """Return a naive Bayes of bits as a pipeline: skl2onnx 1.20 rounds its threshold to float32 (no issue known)."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import Binarizer

    bits = _changed(Binarizer(threshold=estimator.binarize), n_features_in_=estimator.n_features_in_)
    return Pipeline([("bits", bits), ("model", _changed(estimator, binarize=None))])


def _pipeline(pipeline: Any) -> Any:
    """Return a pipeline without idle steps, including imputers of texts: a served text is never missing."""
    *before, (last, model) = pipeline.steps
    kept = [(name, _choice(step) or equivalent(step)) for name, step in before if step not in IDLE_STEPS]
    steps = kept if model in IDLE_STEPS else [*kept, (last, equivalent(model))]
    while len(steps) > 1 and _imputes_texts(steps[0][1]):
        steps = steps[1:]
    return _changed(pipeline, steps=steps)


def _imputes_texts(estimator: Any) -> bool:
    statistics: Any = getattr(estimator, "statistics_", None)
    return (
        getattr(getattr(statistics, "dtype", None), "kind", "") == "O"
        and any(isinstance(value, str) for value in statistics)
        and not isinstance(estimator.missing_values, str)
        and not estimator.add_indicator
        and all(value == value for value in statistics)  # a column without any value is dropped
    )


def _by_place(transformer: Any) -> Any:
    """Return a ColumnTransformer that finds columns by place, since ONNX and Triton may rename them."""
    parts = [
        (name, part if isinstance(part, str) else equivalent(part), places)
        for name, part, places in column_parts(transformer)
        if places
    ]
    return _changed(transformer, transformers_=parts)


def _choice(estimator: Any) -> Any:
    """Return the choice of columns of a recursive elimination of features; None for another estimator."""
    from sklearn.feature_selection import VarianceThreshold

    if not (hasattr(estimator, "support_") and hasattr(estimator, "ranking_")):
        return None
    choice = VarianceThreshold(0.5)
    choice.variances_ = estimator.support_.astype(float)
    choice.n_features_in_ = estimator.n_features_in_
    return choice


def _after_choice(estimator: Any) -> Any:
    """Return a recursive elimination of features as a pipeline: skl2onnx 1.20 converts only its choice of columns."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("choice", _choice(estimator)), ("model", equivalent(estimator.estimator_))])


def _after_encoder(estimator: Any) -> Any:
    """Return histogram gradient boosting of categories as a pipeline: the encoder within it, and its trees."""
    from sklearn.pipeline import Pipeline

    encoder = estimator._preprocessor
    parts = [(name, part if name == "encoder" else "passthrough", at) for name, part, at in encoder.transformers_]
    trees = _changed(estimator, _preprocessor=None)
    return Pipeline([("encoder", _by_place(_changed(encoder, transformers_=parts))), ("trees", trees)])


def _of_equivalents(estimator: Any) -> Any:
    """Return an ensemble with equivalent parts, if one of these needs it."""
    inner = getattr(estimator, "estimators_", None)
    if not isinstance(inner, list) or not any(hasattr(each, "get_params") for each in inner):
        return estimator
    others = [equivalent(each) for each in inner]
    same = all(other is each for other, each in zip(others, inner, strict=True))
    return estimator if same else _changed(estimator, estimators_=others)
