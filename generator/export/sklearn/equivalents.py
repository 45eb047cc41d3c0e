"""Estimators that answer the same as those given, written as skl2onnx reads them; those given stay as they are."""

import copy
from typing import Any

from modelrepo.generator.sources.sklearn.estimators import IDLE_STEPS, column_parts, is_column_transformer, steps_of


def equivalent(estimator: Any) -> Any:
    """Return an estimator with the same answers that skl2onnx reads: the same one where nothing stands in its way."""
    searched = getattr(estimator, "best_estimator_", None)
    if searched is not None:
        return equivalent(searched)
    if hasattr(estimator, "steps"):
        return _pipeline(estimator)
    if is_column_transformer(estimator):
        return _by_place(estimator)
    if getattr(estimator, "flatten_transform", False):  # of a VotingClassifier, no matter to what it predicts
        return _changed(_of_equivalents(estimator), flatten_transform=False)
    if hasattr(estimator, "kneighbors") and not hasattr(estimator, "predict"):  # is asked for so many, at any distance
        return _changed(estimator, radius=None)
    return _of_equivalents(estimator)


def _changed(estimator: Any, **attributes: Any) -> Any:
    """Return a shallow copy with other attributes."""
    other = copy.copy(estimator)
    vars(other).update(attributes)
    return other


def _pipeline(pipeline: Any) -> Any:
    """Leave out steps that do nothing; an imputer of texts is one, since a text that is served is never missing."""
    steps = [(name, equivalent(step)) for name, step in pipeline.steps if step not in IDLE_STEPS]
    while len(steps) > 1 and _imputes_texts(steps[0][1]):
        steps = steps[1:]
    return _changed(pipeline, steps=steps)


def _imputes_texts(estimator: Any) -> bool:
    statistics: Any = getattr(estimator, "statistics_", None)
    return (
        getattr(getattr(statistics, "dtype", None), "kind", "") == "O"
        and not isinstance(estimator.missing_values, str)
        and not estimator.add_indicator
        and all(value == value for value in statistics)  # a column without any value is dropped
    )


def _by_place(transformer: Any) -> Any:
    """Let columns go by their places, since ONNX and Triton may call them otherwise."""
    parts = [
        (name, part if isinstance(part, str) else equivalent(part), places)
        for name, part, places in column_parts(transformer)
        if places
    ]
    return _changed(transformer, transformers_=parts)


def _of_equivalents(estimator: Any) -> Any:
    """Make an ensemble one of equivalents: of pipelines, which may hold what has to be changed."""
    inner = getattr(estimator, "estimators_", None)
    if not isinstance(inner, list) or not any(steps_of(each) for each in inner):
        return estimator
    return _changed(estimator, estimators_=[equivalent(each) for each in inner])
