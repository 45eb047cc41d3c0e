"""XGBoost and LightGBM: missing values of every kind, categories, objectives and limits as the booster answers."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas
import pytest
import xgboost

from modelrepo.generator.errors import ConversionError, SourceError
from tests.generator.export.sklearn.serving import NAN, around, check, loaded

RANDOM = np.random.default_rng(0)
FULL = RANDOM.normal(size=(300, 3)).astype(np.float32)
HOLES = np.where(RANDOM.random(FULL.shape) < 0.2, np.float32(NAN), FULL)
ZEROS = np.where(RANDOM.random(FULL.shape) < 0.25, np.float32(0), FULL)
CLASS = (FULL[:, 0] + FULL[:, 1] > 0).astype(int)
THREE = CLASS + (FULL[:, 2] > 0.5)
NUMBER = 3 * FULL[:, 0] + np.abs(FULL[:, 1])
TINY = np.array([[1e-35] * 3, [-1e-35] * 3, [1.1e-35] * 3, [-1.1e-35] * 3, [1e-40] * 3], np.float32)
ASKED = np.concatenate([HOLES, ZEROS, FULL * 1e4, TINY, np.full((1, 3), NAN), np.zeros((1, 3))]).astype(np.float32)
KINDS = np.column_stack([HOLES[:, 0], RANDOM.integers(0, 9, 300), HOLES[:, 1]])
SCORE = np.nan_to_num(KINDS[:, 0]) + KINDS[:, 1] * 3 % 5
ODD = np.array([[0, each, 0] for each in (9, -1, NAN, 2.5, -0.5, 100)])
FRAME = pandas.DataFrame({"size": FULL[:, 0], "town": pandas.Categorical(RANDOM.choice(list("abcdef"), 300))})
FRAME_SCORE = FRAME["size"] + FRAME.town.cat.codes * 1.5 % 4


@pytest.mark.parametrize("missing", [NAN, 0.0, -1.0])
@pytest.mark.parametrize(
    ("kind", "target"),
    [(xgboost.XGBRegressor, NUMBER), (xgboost.XGBClassifier, THREE), (xgboost.XGBRFClassifier, THREE)],
)
def test_xgboost_takes_its_own_missing_value(kind: Any, target: Any, missing: float) -> None:
    given = HOLES if np.isnan(missing) else np.nan_to_num(HOLES, nan=missing)
    check(
        kind(n_jobs=1, n_estimators=3, max_depth=3, missing=missing).fit(given, target), np.concatenate([ASKED, given])
    )


@pytest.mark.parametrize("settings", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
@pytest.mark.parametrize("rows", [ZEROS, HOLES], ids=["zeros", "holes"])
def test_lightgbm_takes_zeros_for_missing_if_it_was_told_so(settings: dict[str, bool], rows: Any) -> None:
    check(lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1, **settings).fit(rows, NUMBER), ASKED)
    check(lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1, **settings).fit(rows, THREE), ASKED)


@pytest.mark.parametrize(
    ("objective", "target"),
    [
        *((f"reg:{name}", np.abs(NUMBER) + 0.1) for name in ("gamma", "tweedie", "absoluteerror", "squaredlogerror")),
        *(("count:poisson", np.abs(NUMBER)), ("reg:logistic", CLASS)),
    ],
)
def test_objectives_of_xgboost_have_their_last_function(objective: str, target: Any) -> None:
    check(xgboost.XGBRegressor(n_jobs=1, n_estimators=3, objective=objective, base_score=0.4).fit(FULL, target), ASKED)


@pytest.mark.parametrize(
    "objective", ["poisson", "tweedie", "quantile", "cross_entropy", "cross_entropy_lambda", "huber"]
)
def test_objectives_of_lightgbm_have_their_last_function(objective: str) -> None:
    target = CLASS if objective.startswith("cross") else np.abs(NUMBER) + 0.1
    check(lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1, objective=objective).fit(FULL, target), ASKED)


@pytest.mark.parametrize("kind", ["rf", "dart"])
def test_forests_and_dropped_trees_of_lightgbm_are_weighed(kind: str) -> None:
    settings = {
        "boosting_type": kind,
        "bagging_freq": 1,
        "bagging_fraction": 0.7,
        "n_estimators": 4,
        "verbose": -1,
        "n_jobs": 1,
    }
    check(lightgbm.LGBMClassifier(**settings).fit(FULL, CLASS), ASKED)
    check(lightgbm.LGBMRegressor(**settings).fit(FULL, NUMBER), ASKED)


def test_several_targets_and_labels_dart_and_early_stopping_of_xgboost() -> None:
    several = np.column_stack([NUMBER, -NUMBER])
    check(xgboost.XGBRegressor(n_jobs=1, n_estimators=3, multi_strategy="multi_output_tree").fit(FULL, several), ASKED)
    check(xgboost.XGBClassifier(n_jobs=1, n_estimators=3).fit(FULL, np.column_stack([CLASS, 1 - CLASS])), ASKED)
    check(xgboost.XGBRegressor(n_jobs=1, n_estimators=4, booster="dart", rate_drop=0.5).fit(FULL, NUMBER), ASKED)
    early = xgboost.XGBClassifier(n_jobs=1, n_estimators=30, early_stopping_rounds=2, learning_rate=0.9)
    check(early.fit(FULL[:150], THREE[:150], eval_set=[(FULL[150:], THREE[150:])], verbose=False), ASKED)


def test_codes_of_categories_are_compared_as_the_booster_rounds_them() -> None:
    asked = np.concatenate([KINDS, ODD])
    settings: dict[str, Any] = {
        "n_jobs": 1,
        "n_estimators": 4,
        "enable_categorical": True,
        "feature_types": ["q", "c", "q"],
    }
    check(xgboost.XGBRegressor(**settings).fit(KINDS, SCORE), asked)
    check(xgboost.XGBRegressor(max_cat_to_onehot=20, **settings).fit(KINDS, SCORE), asked)
    light = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1, min_data_per_group=5, cat_smooth=1)
    check(light.fit(KINDS, SCORE, categorical_feature=[1]), asked)


def test_categories_of_a_data_frame_are_served_by_their_texts(workdir: Path) -> None:
    towns = np.array(list("abcdef"), object)[:, np.newaxis]
    columns = {"size": np.linspace(-1, 1, 6)[:, np.newaxis], "town": towns}
    check(xgboost.XGBRegressor(n_jobs=1, n_estimators=4, enable_categorical=True).fit(FRAME, FRAME_SCORE), columns)
    light = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1).fit(FRAME, FRAME_SCORE)
    columns["town"] = np.array([*"abcd", "unheard", ""], object)[:, np.newaxis]
    check(light, columns)
    light.booster_.save_model("model.txt")
    check(Path("model.txt"), columns)
    own = loaded(light)
    assert own.inputs[1].domain.choices == tuple("abcdef")
    assert "" in own.inputs[1].domain.others


def test_numbers_at_and_next_to_a_limit_of_lightgbm_are_on_its_right_side() -> None:
    model = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1).fit(1e6 * FULL.astype(np.float64), NUMBER)
    edges = loaded(model).inputs[0].domain.edges
    check(model, np.array([[limit, FULL[0, 1], FULL[0, 2]] for limit in around(*edges[0])]))


def test_what_has_no_converter_is_named() -> None:
    model = lightgbm.LGBMRegressor(n_estimators=2, linear_tree=True, verbose=-1, n_jobs=1)
    with pytest.raises(ConversionError, match="linear trees have no converter"):
        check(model.fit(FULL, NUMBER), FULL)


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson", "binary:logistic", "multi:softmax"])
def test_a_pickled_booster_of_xgboost_answers_as_its_file(objective: str) -> None:
    several = objective.startswith("multi")
    target = THREE if several else CLASS if objective.startswith("binary") else np.abs(NUMBER)
    settings = {"objective": objective, "nthread": 1, **({"num_class": 3} if several else {})}
    check(xgboost.train(settings, xgboost.DMatrix(FULL, target), 3), ASKED)


@pytest.mark.parametrize("objective", ["regression", "poisson", "binary", "multiclass"])
def test_a_pickled_booster_of_lightgbm_answers_as_its_file(objective: str) -> None:
    several = objective == "multiclass"
    target = THREE if several else CLASS if objective == "binary" else np.abs(NUMBER)
    settings = {"objective": objective, "verbose": -1, "num_threads": 1, **({"num_class": 3} if several else {})}
    check(lightgbm.train(settings, lightgbm.Dataset(FULL, target), 3), ASKED)


def test_xgboost_answers_probabilities_whatever_it_was_fitted_to_answer() -> None:
    check(xgboost.XGBClassifier(n_jobs=1, n_estimators=3, objective="multi:softmax").fit(FULL, THREE), ASKED)


def test_categories_that_xgboost_cuts_are_refused() -> None:
    """It keeps as many bytes as there are letters: one that fails here tells that it no longer does."""
    town = pandas.Categorical(np.array(["aé", "b", "日本"], object)[RANDOM.integers(0, 3, 300)])
    frame = pandas.DataFrame({"town": town})
    model = xgboost.XGBRegressor(n_jobs=1, n_estimators=2, enable_categorical=True).fit(frame, NUMBER)
    with pytest.raises(SourceError, match="XGBoost keeps no categories with letters outside of ASCII"):
        loaded(model)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (xgboost.XGBRegressor, NUMBER),
        (xgboost.XGBRegressor, np.column_stack([NUMBER, NUMBER + 9])),
        (xgboost.XGBClassifier, CLASS),
        (xgboost.XGBClassifier, THREE),
    ],
)
def test_a_linear_booster_adds_nothing_for_a_missing_value(kind: Any, target: Any) -> None:
    model = kind(n_jobs=1, n_estimators=4, booster="gblinear").fit(FULL, target)
    check(model, np.concatenate([FULL, HOLES]))


def test_a_time_of_survival_is_an_exponential() -> None:
    rows = xgboost.DMatrix(FULL)
    rows.set_float_info("label_lower_bound", np.abs(NUMBER) + 0.1)
    rows.set_float_info("label_upper_bound", np.abs(NUMBER) + 1)
    check(xgboost.train({"objective": "survival:aft", "nthread": 1}, rows, 3), ASKED)


def squared(target: Any, answer: Any) -> Any:
    """Return the derivatives of an objective of the user's."""
    return answer - target, np.ones_like(answer)


def test_a_classifier_with_an_objective_of_its_own_is_served_as_its_booster(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(objective=squared, n_estimators=3, verbose=-1, n_jobs=1).fit(FULL, CLASS)
    with pytest.raises(SourceError, match="for which LightGBM has no probabilities and no labels"):
        loaded(model)
    model.booster_.save_model(tmp_path / "model.txt")
    check(tmp_path / "model.txt", ASKED)
