"""Estimators within estimators: pipelines, unions, ensembles and searches, recognised by their attributes."""

from collections.abc import Iterator
from typing import Any

# The attributes with fitted estimators that get the same input.
INNER = (
    *("best_estimator_", "estimator_", "regressor_", "base_estimator_", "calibrated_classifiers_", "estimators_"),
    "_preprocessor",  # of categories, in histogram gradient boosting
)
# Steps of a pipeline, and parts of a union, that do nothing.
IDLE_STEPS = (None, "passthrough", "drop")


def steps_of(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline that do something; none for another estimator."""
    return [step for _, step in getattr(estimator, "steps", ()) if step not in IDLE_STEPS]


def last_step(estimator: Any) -> Any:
    """Return the estimator that gives the outputs: the last of a pipeline, and of a pipeline within it."""
    steps = steps_of(estimator)
    return last_step(steps[-1]) if steps else estimator


def parts_of(estimator: Any) -> list[Any]:
    """Return the estimators that get an estimator's own table: its first step, or all of its parts."""
    if hasattr(estimator, "steps"):
        return steps_of(estimator)[:1]
    if hasattr(estimator, "transformer_list"):
        return [part for _, part in estimator.transformer_list if part not in IDLE_STEPS]
    # An ensemble's ``estimator_`` is not fitted: its ``estimators_`` are copies of it.
    left_out = "estimator_" if hasattr(estimator, "estimators_") else ""
    return [part for name in INNER if name != left_out for part in _flat(getattr(estimator, name, None))]


def _flat(inner: Any) -> Iterator[Any]:
    if isinstance(inner, (list, tuple)) or hasattr(inner, "ravel"):  # gradient boosting keeps an array of trees
        for each in inner:
            yield from _flat(each)
    elif hasattr(inner, "get_params"):
        yield inner
    elif hasattr(inner, "calibrators"):  # a CalibratedClassifierCV keeps pairs of a classifier and its calibrators
        yield inner.estimator


def entries(estimator: Any) -> Iterator[Any]:
    """Yield every estimator that gets the whole table, from the outermost on."""
    yield estimator
    for part in parts_of(estimator):
        yield from entries(part)


def every_part(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and all within it: the steps of pipelines, the parts of unions, tables and ensembles."""
    yield estimator
    columns = [part for _, part, _ in column_parts(estimator)] if is_column_transformer(estimator) else []
    for part in (*steps_of(estimator), *columns, *([] if hasattr(estimator, "steps") else parts_of(estimator))):
        if not isinstance(part, str):
            yield from every_part(part)


def is_column_transformer(estimator: Any) -> bool:
    """Whether an estimator is scikit-learn's ColumnTransformer, fitted."""
    return hasattr(estimator, "_transformer_to_input_indices") and hasattr(estimator, "transformers_")


def is_vectorizer(estimator: Any) -> bool:
    """Whether an estimator is scikit-learn's CountVectorizer, TfidfVectorizer or HashingVectorizer."""
    return hasattr(estimator, "build_analyzer") and hasattr(estimator, "token_pattern")


def column_parts(transformer: Any) -> Iterator[tuple[str, Any, list[int]]]:
    """Yield the name of each part of a fitted ColumnTransformer, the part, and the places of its columns."""
    for name, part, _ in transformer.transformers_:
        yield name, part, list(transformer._transformer_to_input_indices[name])
