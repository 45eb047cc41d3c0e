"""Fitted estimators of scikit-learn, XGBoost and LightGBM: gaps, categories, texts and numbers that are far from 0."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
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

    A table is a matrix, or a data frame whose columns are inputs. Its floats are rounded to float32, as they are served,
    unless they are ``exact``.
    """
    exact = more.pop("exact", False)

    def make(folder: Path) -> Made:
        import joblib

        estimator, tables = fit(np.random.default_rng(0))
        joblib.dump(estimator, folder / "model.joblib")
        asked = tables if exact else [_rounded(table) for table in tables]
        return Made(f"sklearn:{folder}/model.joblib", [_question(estimator, table) for table in asked])

    return Neighbour(name, make, options={**TRUST, **more.pop("options", {})}, **more)


def _question(estimator: Any, table: Any) -> Question:
    answers = [getattr(estimator, name)(table) for name in _methods(estimator)]
    dense = [each.toarray() if hasattr(each, "toarray") else each for each in answers]
    return Question(_columns(table) if hasattr(table, "columns") else {"input": _matrix(table)}, dense)


def _columns(table: Any) -> dict[str, Any]:
    """Return each column of a data frame, and the matrix that a model without a ColumnTransformer takes instead."""
    whole = {"input": table.to_numpy("float64")} if all(kind.kind in "biuf" for kind in table.dtypes) else {}
    return whole | {str(name): table[[name]].to_numpy() for name in table.columns}


def _matrix(table: Any) -> Any:
    matrix = np.asarray(table)
    return matrix if matrix.ndim == 2 else matrix[:, None]


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


def numbers(random: Any, gaps: bool = False, scale: float = 3, offset: float = 0) -> tuple[Any, Any]:
    """Return a table of four columns, with gaps if asked, and a number for each row."""
    table = random.normal(size=(200, 4))
    target = table @ [1, -2, 3, 0.5] + np.abs(table[:, 1])
    if gaps:
        table[random.random(table.shape) < 0.2] = np.nan
    return table * scale + offset, target


def of_numbers(
    name: str,
    build: Callable[[], Any],
    *,
    classes: bool = False,
    gaps: bool = False,
    asked_gaps: bool = False,
    **more: Any,
) -> Neighbour:
    """Return the row of an estimator of numbers; it is asked its own table, larger numbers, zeros, and maybe gaps."""
    scale, offset = more.pop("scale", 3), more.pop("offset", 0)

    def fit(random: Any) -> tuple[Any, Sequence[Any]]:
        table, target = numbers(random, gaps, scale, offset)
        target = np.array(["no", "maybe", "yes"])[(target > 0).astype(int) + (target > 2)] if classes else target
        holes = np.where(random.random(table.shape) < 0.4, np.nan, table)
        beyond = [] if offset else [table * 100, np.zeros((2, 4))]
        missing = [holes, np.full((2, 4), np.nan)] if gaps or asked_gaps else []
        return build().fit(table, target), [table, *beyond, *missing]

    return row(name, fit, **more)


def of_boosters(name: str, build: Callable[[Any], Any], prepare: Callable[[Any, Any], Any], *asked: Any) -> Neighbour:
    """Return the row of a booster of numbers that ``prepare`` changes with a random generator."""

    def fit(random: Any) -> tuple[Any, Sequence[Any]]:
        table, target = numbers(random)
        table = prepare(table, random)
        target = target + 4 * np.nan_to_num(table[:, 0] % 3)
        return build((table, target)), [table, *map(np.array, asked)]

    return row(name, fit)


def of_frame(name: str, build: Callable[[], Any], columns: Sequence[str], *asked: Any, **more: Any) -> Neighbour:
    """Return the row of an estimator of some columns of a data frame; it is asked these and other rows."""

    def fit(random: Any) -> tuple[Any, Sequence[Any]]:
        import pandas

        table = pandas.DataFrame(
            {
                "size": random.normal(size=300) * 4,
                "age": np.where(random.random(300) < 0.2, np.nan, random.integers(0, 90, 300)),
                "rooms": random.integers(-3, 9, 300),
                "flag": random.random(300) < 0.4,
                "colour": random.choice(["red", "green", "blue", "rare"], 300, p=[0.4, 0.3, 0.28, 0.02]),
                "code": random.choice(["1", "2", "10", "01"], 300),
            }
        )
        target = (table["size"] > 0).astype(int) + (table["colour"] == "red") + table["flag"]
        own = table[list(columns)]
        others = [pandas.DataFrame(dict(zip(columns, zip(*rows, strict=True), strict=True))) for rows in asked]
        return build().fit(own, target), [own, *others]

    return row(name, fit, **more)


def of_texts(name: str, build: Callable[[], Any], **more: Any) -> Neighbour:
    """Return the row of a vectorizer with a classifier behind it."""

    def fit(random: Any) -> tuple[Any, Sequence[Any]]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        texts = [" ".join(random.choice(WORDS, random.integers(2, 9))) for _ in range(150)]
        labels = ["yes" if "good" in text else "no" for text in texts]
        return make_pipeline(build(), LogisticRegression()).fit(texts, labels), [texts, list(HARD_TEXTS)]

    return row(name, fit, **more)


def _sk(path: str, *arguments: Any, **settings: Any) -> Any:
    """Return an estimator of scikit-learn by its module and class: scikit-learn is imported when a row is made."""
    module, _, name = path.rpartition(".")
    package = module if module.startswith(("xgboost", "lightgbm")) else f"sklearn.{module}"
    return getattr(import_module(package), name)(*arguments, **settings)


def _line(*steps: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*steps)


def _table(*parts: Any, **settings: Any) -> Any:
    return _sk("compose.ColumnTransformer", list(parts), **settings)


def _xgb(name: str = "XGBRegressor", **settings: Any) -> Any:
    import xgboost

    return getattr(xgboost, name)(n_estimators=6, max_depth=3, **settings)


def _lgbm(name: str = "LGBMRegressor", **settings: Any) -> Any:
    import lightgbm

    return getattr(lightgbm, name)(n_estimators=8, min_child_samples=5, verbose=-1, **settings)


def _whole(table: Any, random: Any, low: int = 0) -> Any:
    return np.c_[random.integers(low, low + 12, len(table)), table[:, 1:]]


WORDS = ("good", "bad", "Film", "naïve", "don't", "été", "x", "a_b", "42", "3.5", "日本", "😀", "STRASSE", "straße")
HARD_TEXTS = (
    *(
        "",
        "   ",
        "GOOD good Good",
        "l'été n'est",
        "don\u2019t don't",
        "e\u0301te\u0301 naïve",
        "a_b _a_ __",
        "42 4 2 3.5 3,5",
    ),
    *(
        "日本 日本語",
        "😀😀 good😀",
        "Straße STRASSE ẞ",
        "İstanbul ΣΊΣΥΦΟΣ",
        "good-bad/film\tx\nx",
        "good " * 500,
        "x" * 2000,
    ),
)
CATEGORIES = ["colour", "code"]
UNSEEN = [("purple", "3"), ("", ""), (" red", "1.0"), ("RED", "01 "), ("nan", "None"), ("red", "10"), ("rare", "1")]
ONE_HOT, ORDINAL = "preprocessing.OneHotEncoder", "preprocessing.OrdinalEncoder"
SCALER, IMPUTER = "preprocessing.StandardScaler", "impute.SimpleImputer"
RIDGE, LOGISTIC = "linear_model.Ridge", "linear_model.LogisticRegression"
TREE, KNN = "tree.DecisionTreeRegressor", "neighbors.KNeighborsRegressor"
HIST = "ensemble.HistGradientBoosting"
ODD_CATEGORIES = [[-1, 0, 0, 0], [50, 0, 0, 0], [2.5, 1, 1, 1], [1e6, 0, 0, 0], [-3.5, 0, 0, 0], [np.nan, 0, 0, 0]]
SECONDS: Mapping[str, Any] = {"scale": 1e3, "offset": 1.7e9, "exact": True}

# fmt: off
NEIGHBOURS = (
    of_numbers("extra trees with gaps", lambda: _sk("ensemble.ExtraTreesRegressor", 7, max_depth=5), gaps=True),
    of_numbers("gaps at prediction only, histograms", lambda: _sk(f"{HIST}Regressor", max_iter=8), asked_gaps=True),
    of_numbers("gaps at prediction only, three classes", lambda: _sk(f"{HIST}Classifier", max_iter=5), classes=True, asked_gaps=True, slow=True),
    of_numbers("monotonic histograms", lambda: _sk(f"{HIST}Regressor", max_iter=8, monotonic_cst=[1, -1, 0, 0]), gaps=True, slow=True),
    of_numbers("isolation forest with gaps", lambda: _sk("ensemble.IsolationForest", n_estimators=5), gaps=True, slow=True),
    of_numbers("bagging of pipelines", lambda: _sk("ensemble.BaggingRegressor", _line(_sk(IMPUTER, add_indicator=True), _sk(RIDGE)), 4), gaps=True, slow=True),
    of_numbers("bagging of a booster", lambda: _sk("ensemble.BaggingRegressor", _xgb(), 3), gaps=True),
    of_numbers("stacking that passes its table", lambda: _sk("ensemble.StackingRegressor", [("a", _sk(RIDGE)), ("b", _sk(TREE, max_depth=3))], passthrough=True), slow=True),
    of_numbers("voting with weights and one left out", lambda: _sk("ensemble.VotingRegressor", [("a", _sk(RIDGE)), ("left out", "drop"), ("b", _sk(TREE, max_depth=3))], weights=[1, 9, 3]), slow=True),
    of_numbers("an elimination of features in a pipeline", lambda: _line(_sk("feature_selection.RFE", _sk(RIDGE), n_features_to_select=2), _sk(RIDGE, 3))),
    of_numbers("bits of naive Bayes", lambda: _line(_sk(SCALER), _sk("naive_bayes.BernoulliNB", binarize=0.3)), classes=True),
    of_numbers("an imputer behind a scaler", lambda: _line(_sk("preprocessing.RobustScaler"), _sk(IMPUTER, strategy="median"), _sk(RIDGE)), gaps=True),
    of_numbers("an imputer behind quantiles", lambda: _line(_sk("preprocessing.QuantileTransformer", n_quantiles=30), _sk(IMPUTER), _sk(RIDGE)), gaps=True, slow=True),
    of_numbers("the nearest rows imputed, and marked", lambda: _line(_sk("impute.KNNImputer", weights="distance", add_indicator=True), _sk(RIDGE)), gaps=True, slow=True),
    of_numbers("seconds since 1970, scaled", lambda: _line(_sk(SCALER), _sk(RIDGE)), **SECONDS),
    of_numbers("seconds since 1970, neighbours", lambda: _line(_sk("preprocessing.MinMaxScaler"), _sk(KNN, 3)), slow=True, **SECONDS),
    of_numbers("seconds since 1970, components", lambda: _line(_sk("decomposition.PCA", 2), _sk(RIDGE)), **SECONDS),
    of_numbers("seconds since 1970, a line", lambda: _sk("linear_model.LinearRegression"), scale=1e6, offset=1.7e9),
    of_numbers("seconds since 1970, histograms", lambda: _sk(f"{HIST}Regressor", max_iter=5), slow=True, **SECONDS),
    of_numbers("seconds since 1970, boosting", _lgbm, slow=True, **SECONDS),
    of_numbers("linear trees", lambda: _lgbm(linear_tree=True), verdict="LightGBM's linear trees have no converter"),
    of_numbers("a booster of lines", lambda: _xgb(booster="gblinear")),
    of_boosters("-999 that means missing", lambda data: _xgb(missing=-999.0).fit(*data), lambda table, random: np.where(random.random(table.shape) < 0.2, -999, table), [[-999, 1, -999, 0], [-998.9, -999, 0, 0]]),
    of_boosters("categories by number, boosting", lambda data: _lgbm().fit(*data, categorical_feature=[0]), _whole, ODD_CATEGORIES),
    of_boosters("categories below zero", lambda data: _lgbm().fit(*data, categorical_feature=[0]), lambda table, random: _whole(table, random, -3), ODD_CATEGORIES),
    of_boosters("categories by number, one at a time", lambda data: _xgb(enable_categorical=True, feature_types=["c", "q", "q", "q"]).fit(*data), _whole, [[11, 1, 2, 3], [np.nan, 1, 2, 3]]),
    of_boosters("zeros that mean missing", lambda data: _lgbm(zero_as_missing=True).fit(*data), lambda table, random: np.where(random.random(table.shape) < 0.3, 0, table), [[1e-36, -1e-36, 1e-34, -0.0], [np.nan, 0, 1, 2]]),
    of_boosters("missing values that are not used", lambda data: _lgbm(use_missing=False).fit(*data), lambda table, random: np.where(random.random(table.shape) < 0.2, np.nan, table), [[np.nan] * 4]),
    of_boosters("trees in parallel, dropped out", lambda data: _xgb(booster="dart", rate_drop=0.5, num_parallel_tree=2).fit(*data), lambda table, random: table, [[np.nan] * 4]),
    of_frame("unseen categories", lambda: _line(_table(("c", _sk(ONE_HOT, handle_unknown="ignore"), CATEGORIES)), _sk(LOGISTIC)), CATEGORIES, UNSEEN),
    of_frame("infrequent categories, the first dropped", lambda: _table(("c", _sk(ONE_HOT, handle_unknown="infrequent_if_exist", max_categories=3, drop="first"), CATEGORIES)), CATEGORIES, UNSEEN),
    of_frame("data frames between the steps", lambda: _line(_table(("c", _sk(ONE_HOT, handle_unknown="ignore", sparse_output=False), CATEGORIES)).set_output(transform="pandas"), _sk(LOGISTIC)), CATEGORIES, UNSEEN),
    of_frame("codes of categories in a data frame", lambda: _sk(ORDINAL, handle_unknown="use_encoded_value", unknown_value=np.nan).set_output(transform="pandas"), CATEGORIES, UNSEEN, slow=True),
    of_frame("codes of infrequent categories", lambda: _table(("c", _sk(ORDINAL, min_frequency=10, handle_unknown="use_encoded_value", unknown_value=-1), CATEGORIES)), CATEGORIES, UNSEEN),
    of_frame("targets of categories, three classes", lambda: _line(_table(("c", _sk("preprocessing.TargetEncoder"), CATEGORIES)), _sk(LOGISTIC)), CATEGORIES, UNSEEN, slow=True),
    of_frame("whole numbers and missing ones as categories", lambda: _table(("c", _sk(ONE_HOT, handle_unknown="ignore"), ["rooms", "age"])), ["rooms", "age"], [(-100, np.nan), (0, 0.5), (1000, 1e6)]),
    of_frame("all that a table has", lambda: _line(_table(("c", _sk(ONE_HOT, handle_unknown="ignore"), CATEGORIES), ("n", _sk(IMPUTER, add_indicator=True), ["age"]), remainder="passthrough"), _sk(LOGISTIC)), ["size", "age", "flag", *CATEGORIES], slow=True),
    of_texts("words of one letter", lambda: _sk("feature_extraction.text.TfidfVectorizer", token_pattern=r"(?u)\b\w+\b")),
    of_texts("pairs of words, as they are written", lambda: _sk("feature_extraction.text.CountVectorizer", ngram_range=(1, 2), lowercase=False, binary=True)),
    of_texts("letters", lambda: _sk("feature_extraction.text.TfidfVectorizer", analyzer="char", ngram_range=(1, 2)), slow=True),
    of_texts("no frequent words", lambda: _sk("feature_extraction.text.TfidfVectorizer", stop_words="english", sublinear_tf=True, min_df=2), slow=True),
    of_texts("no accents", lambda: _sk("feature_extraction.text.TfidfVectorizer", strip_accents="unicode"), verdict="Remove accents before the texts are sent"),
)
# fmt: on
