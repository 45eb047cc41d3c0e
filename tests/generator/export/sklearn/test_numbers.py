"""Bins, quantiles, powers and calibration: numbers at their edges, and NaN, as scikit-learn answers them."""

from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingRegressor, RandomForestClassifier, VotingRegressor
from sklearn.feature_selection import RFE, RFECV, SequentialFeatureSelector, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

from modelrepo.generator.errors import ConversionError
from tests.generator.export.sklearn.serving import NAN, around, check, loaded

RANDOM = np.random.default_rng(0)
TABLE = np.round(RANDOM.normal(size=(150, 2)) * 3, 1)
HOLES = np.where(RANDOM.random(TABLE.shape) < 0.2, NAN, TABLE)
CLASS = (TABLE.sum(axis=1) > 0).astype(int)


def near(limits: Any) -> Any:
    """Return rows at and next to the limits of both columns."""
    first, second = (around(*each)[:, np.newaxis] for each in limits)
    return np.concatenate([np.hstack([first, np.ones_like(first)]), np.hstack([np.ones_like(second), second])])


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
def test_a_number_on_an_edge_is_in_the_bin_above_it(encode: str) -> None:
    model = KBinsDiscretizer(4, encode=encode, quantile_method="averaged_inverted_cdf").fit(TABLE)
    check(model, np.concatenate([TABLE, near(model.bin_edges_)]))
    assert loaded(model).inputs[0].domain.edges[0] == tuple(np.unique(model.bin_edges_[0]))


def test_a_number_at_a_threshold_is_not_above_it() -> None:
    check(Binarizer(threshold=0.1).fit(TABLE), near([[0.1], [0.1]]))


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_quantiles_are_exact_at_equal_ones_and_beyond(distribution: str) -> None:
    model = QuantileTransformer(n_quantiles=20, output_distribution=distribution).fit(HOLES)
    check(model, np.concatenate([HOLES, TABLE * 100, near(model.quantiles_.T)]))


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_powers_keep_missing_values(method: str) -> None:
    rows = np.abs(HOLES) + 0.1 if method == "box-cox" else HOLES
    check(PowerTransformer(method=method).fit(rows), rows)


def test_functions_of_numpy_are_computed_and_others_are_named() -> None:
    rows = np.abs(TABLE) + 0.1
    for function in (np.log1p, np.sqrt, np.square, np.tanh):
        check(FunctionTransformer(function).fit(rows), rows)
    with pytest.raises(ConversionError, match="the function sinc of a FunctionTransformer: it is code of its own"):
        check(FunctionTransformer(np.sinc).fit(rows), rows)


def test_isotonic_calibration_is_straight_between_its_points() -> None:
    model = CalibratedClassifierCV(RandomForestClassifier(4, max_depth=3), cv=2, method="isotonic")
    check(model.fit(TABLE, CLASS), TABLE)


def test_an_elimination_of_features_answers_with_the_model_behind_it() -> None:
    check(RFECV(Ridge(), cv=3).fit(TABLE, TABLE[:, 0]), TABLE)
    check(RFE(LogisticRegression(), n_features_to_select=1).fit(TABLE, CLASS), TABLE)


def test_any_choice_of_columns_is_served() -> None:
    chooser = SequentialFeatureSelector(Ridge(), n_features_to_select=1)
    check(chooser.fit(TABLE, TABLE[:, 0]), TABLE)
    check(VarianceThreshold().fit(HOLES), HOLES)


def test_bins_behind_a_scaler_are_found_in_float64() -> None:
    bins = KBinsDiscretizer(5, encode="ordinal", quantile_method="averaged_inverted_cdf")
    check(make_pipeline(StandardScaler(), bins, Ridge()).fit(TABLE, CLASS), TABLE)


def test_an_elimination_of_features_within_a_pipeline_only_chooses() -> None:
    model = make_pipeline(RFE(Ridge(), n_features_to_select=1), StandardScaler(), Ridge(0.1))
    check(model.fit(TABLE, TABLE[:, 0] * 3), TABLE)


def test_a_naive_bayes_of_bits_compares_with_its_threshold_in_float64() -> None:
    for model in (BernoulliNB(binarize=0.3), make_pipeline(StandardScaler(), BernoulliNB(binarize=0.3))):
        check(model.fit(TABLE, CLASS), np.concatenate([TABLE, near([[0.3], [0.3]])]))


def test_only_those_that_vote_have_a_weight() -> None:
    parts = [("a", Ridge()), ("left out", "drop"), ("b", Ridge(100))]
    check(VotingRegressor(parts, weights=[1, 9, 3]).fit(TABLE, TABLE[:, 0]), TABLE)


def test_an_imputer_behind_a_scaler_is_served() -> None:
    check(make_pipeline(MaxAbsScaler(), SimpleImputer(add_indicator=True), Ridge()).fit(HOLES, CLASS), HOLES)


@pytest.mark.parametrize("step", [StandardScaler(), MinMaxScaler(), PCA(1)])
def test_numbers_far_from_0_are_served_in_float64(step: Any) -> None:
    seconds = TABLE * 1000 + 1.7e9
    model = make_pipeline(step, Ridge()).fit(seconds, CLASS)
    check(model, seconds)
    assert loaded(model).inputs[0].dtype == "float64"
    assert loaded(make_pipeline(step, Ridge()).fit(TABLE, CLASS)).inputs[0].dtype == "float32"


def test_a_line_through_numbers_far_from_0_is_computed_in_float64() -> None:
    days = (TABLE * 1e6 + 1.7e9).astype(np.float32)
    check(LinearRegression().fit(days, TABLE[:, 0]), days)


def test_boosters_in_a_bag_are_served() -> None:
    check(BaggingRegressor(xgboost.XGBRegressor(n_estimators=2), 2).fit(HOLES, CLASS), HOLES)
