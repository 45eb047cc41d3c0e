"""Trees of scikit-learn: missing values, exact limits, categories and several outputs as their estimator answers."""

from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from modelrepo.generator.specs.tensors import InputShape
from tests.generator.export.sklearn.serving import NAN, around, check, loaded

RANDOM = np.random.default_rng(0)
FULL = RANDOM.normal(size=(200, 3)).astype(np.float32)
HOLES = np.where(RANDOM.random(FULL.shape) < 0.2, np.float32(NAN), FULL)
CLASS = (FULL[:, 0] + FULL[:, 1] > 0).astype(int)
THREE = CLASS + (FULL[:, 2] > 0.5)
NUMBER = 3 * FULL[:, 0] + np.abs(FULL[:, 1])
DOUBLES = InputShape("", (1, 3), "float64")


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (DecisionTreeClassifier(max_depth=4), THREE),
        (DecisionTreeRegressor(max_depth=4), NUMBER),
        (RandomForestClassifier(4, max_depth=4), CLASS),
        (ExtraTreesRegressor(4, max_depth=4), np.column_stack([NUMBER, -NUMBER])),
        (BaggingClassifier(DecisionTreeClassifier(max_depth=4), 3, max_features=0.7), THREE),
        (VotingRegressor([("tree", DecisionTreeRegressor(max_depth=4))]), NUMBER),
        (IsolationForest(n_estimators=3, random_state=0), None),
        (HistGradientBoostingClassifier(max_iter=3), THREE),
        (HistGradientBoostingRegressor(max_iter=3, loss="poisson"), np.abs(NUMBER)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_missing_values_go_to_the_side_that_the_trees_chose(model: Any, target: Any) -> None:
    check(model.fit(HOLES, target), np.concatenate([HOLES, np.full((1, 3), np.nan)]))


@pytest.mark.parametrize("model", [DecisionTreeClassifier(max_depth=4), RandomForestClassifier(4, max_depth=4)])
def test_each_output_of_a_classifier_has_its_own_classes(model: Any) -> None:
    check(model.fit(HOLES, np.column_stack([CLASS, THREE])), HOLES)


@pytest.mark.parametrize("shapes", [(), (DOUBLES,)], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(max_depth=5),
        GradientBoostingRegressor(n_estimators=3),
        HistGradientBoostingRegressor(max_iter=3),
    ],
    ids=lambda each: type(each).__name__,
)
def test_numbers_at_and_next_to_a_limit_are_on_its_right_side(model: Any, shapes: tuple[InputShape, ...]) -> None:
    model.fit(1e6 * FULL.astype(np.float64) + 1e-3, NUMBER)
    edges = loaded(model).inputs[0].domain.edges
    rows = [np.where(np.arange(3) == place, limit, FULL[0]) for place in range(3) for limit in around(*edges[place])]
    rows += [np.where(np.arange(3) == place, limit, FULL[0]) for place in range(3) for limit in edges[place]]
    check(model, np.array(rows), *shapes)


def test_trees_behind_a_scaler_compare_what_it_computes_in_float64() -> None:
    rounded = np.round(FULL.astype(np.float64), 1)
    for model in (DecisionTreeRegressor(), HistGradientBoostingRegressor(max_iter=3), GradientBoostingRegressor()):
        check(make_pipeline(StandardScaler(), model).fit(rounded, NUMBER), rounded)


@pytest.mark.parametrize(
    "model", [HistGradientBoostingRegressor(max_iter=4), HistGradientBoostingClassifier(max_iter=4)]
)
def test_categories_of_histogram_gradient_boosting_are_sets_and_unknown_ones_are_missing(model: Any) -> None:
    kinds = RANDOM.choice([3.0, 7.0, 11.5, NAN], 200)
    rows = np.column_stack([FULL[:, 0], kinds])
    model.set_params(categorical_features=[1]).fit(rows, (kinds == 7).astype(int) + (FULL[:, 0] > 0))
    asked = np.array([*kinds, 99.0, -1.0, 7.5])
    check(model, {"x0": np.resize(FULL[:, :1], (len(asked), 1)), "x1": asked[:, np.newaxis]})


def test_a_data_frame_with_categories_is_served_by_their_texts() -> None:
    frame = pandas.DataFrame({"size": FULL[:, 0], "town": pandas.Categorical(RANDOM.choice(list("abcde"), 200))})
    model = HistGradientBoostingRegressor(max_iter=4).fit(frame, frame["size"] + frame.town.cat.codes % 3)
    towns = np.array([*"abcde", "unheard", ""], object)[:, np.newaxis]
    check(model, {"size": np.linspace(-1, 1, 7)[:, np.newaxis], "town": towns})


def test_the_domain_has_the_limits_and_tells_whether_values_may_be_missing() -> None:
    tree = DecisionTreeRegressor(max_depth=2).fit(HOLES, NUMBER)
    domain = loaded(tree).inputs[0].domain
    assert domain.missing
    assert {limit for column in domain.edges for limit in column} == set(tree.tree_.threshold[tree.tree_.feature >= 0])
    behind = loaded(make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2)).fit(FULL, NUMBER))
    assert behind.inputs[0].domain.edges == ()
    assert not loaded(GradientBoostingRegressor(n_estimators=2).fit(FULL, NUMBER)).inputs[0].domain.missing
