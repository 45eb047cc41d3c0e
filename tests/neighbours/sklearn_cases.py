"""Fitted estimators of scikit-learn, XGBoost and LightGBM: gaps, categories, texts and numbers that are far apart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour, Question

# The methods whose answers are served: the first of them that the estimator has, with the class that it predicts.
BESIDE = ("predict_proba", "decision_function", "transform")
TRUST = {"trust_source": True}
Fit = Callable[[Any], tuple[Any, Sequence[Any]]]


def row(name: str, fit: Fit, **more: Any) -> Neighbour:
    """Return the row of what ``fit`` returns for a random generator: an estimator, and the tables that it is asked.

    A table is a matrix, or a data frame whose columns are inputs.
    """

    def make(folder: Path) -> Made:
        import joblib

        estimator, tables = fit(np.random.default_rng(0))
        joblib.dump(estimator, folder / "model.joblib")
        return Made(f"sklearn:{folder}/model.joblib", [_question(estimator, _rounded(table)) for table in tables])

    return Neighbour(name, make, options={**TRUST, **more.pop("options", {})}, **more)


def _question(estimator: Any, table: Any) -> Question:
    answers = [getattr(estimator, name)(table) for name in _methods(estimator)]
    dense = [each.toarray() if hasattr(each, "toarray") else each for each in answers]
    if hasattr(table, "columns"):
        return Question({str(name): table[[name]].to_numpy() for name in table.columns}, dense)
    matrix = np.asarray(table)
    return Question({"input": matrix if matrix.ndim == 2 else matrix[:, None]}, dense)


def _methods(estimator: Any) -> list[str]:
    """Return the methods whose answers are served, in their order."""
    from sklearn.base import is_classifier, is_regressor

    if is_regressor(estimator):
        return ["predict"]
    names = BESIDE[:2] if is_classifier(estimator) else BESIDE
    beside = [name for name in names if hasattr(estimator, name)][:1]
    return ["predict", *beside] if hasattr(estimator, "predict") else beside


def _rounded(table: Any) -> Any:
    """Return a table with its floats as they are served: in float32."""
    if hasattr(table, "columns"):
        return table.assign(**{name: _rounded(table[name]) for name in table.select_dtypes("float64").columns})
    array = np.asarray(table) if isinstance(table, list) else table
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else table


def _forest_with_gaps(random: Any) -> tuple[Any, Sequence[Any]]:
    from sklearn.ensemble import ExtraTreesRegressor

    table = random.normal(size=(200, 4))
    values = table @ [1, -2, 3, 0.5]
    table[random.random(table.shape) < 0.2] = np.nan
    return ExtraTreesRegressor(7, max_depth=5, random_state=0).fit(table, values), [table, np.full((3, 4), np.nan)]


NEIGHBOURS = (row("extra trees with gaps", _forest_with_gaps),)
