"""Encoders and imputers: infrequent, missing, dropped and unknown values as scikit-learn answers them."""

from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from modelrepo.generator.specs.tensors import InputShape
from tests.generator.export.sklearn.serving import NAN, answers, check, loaded

RANDOM = np.random.default_rng(0)
TOWNS = pandas.DataFrame({"town": [*"aaaaaaabbbbbbcd"] * 6, "rooms": [1, 1, 1, 2, 2, 3, 9, 1, 2, 1, 2, 1, 2, 1, 2] * 6})
KNOWN = {"town": np.array([*"abcd"], object)[:, np.newaxis], "rooms": np.array([[1], [2], [3], [9]])}
UNKNOWN = {"town": np.array(["a", "z", "", "A"], object)[:, np.newaxis], "rooms": np.array([[1], [77], [9], [-1]])}
NUMBERS = np.where(RANDOM.random((60, 2)) < 0.2, NAN, RANDOM.integers(0, 4, (60, 2)) + 0.5)
ODD = np.array([[99, 0.25], [-1, NAN], [NAN, 1.5]])
TABLE = RANDOM.normal(size=(80, 3))
HOLES = np.where(RANDOM.random(TABLE.shape) < 0.2, NAN, TABLE)


@pytest.mark.parametrize(
    "settings",
    [
        {"handle_unknown": "ignore"},
        {"handle_unknown": "ignore", "min_frequency": 15},
        {"handle_unknown": "infrequent_if_exist", "min_frequency": 15},
        {"handle_unknown": "infrequent_if_exist", "max_categories": 3, "drop": "first"},
        {"handle_unknown": "ignore", "drop": "first", "dtype": np.int32},
        {"handle_unknown": "warn", "min_frequency": 15},
    ],
    ids=str,
)
def test_one_hot_encoders_know_infrequent_dropped_and_unknown_categories(settings: dict[str, Any]) -> None:
    check(OneHotEncoder(**settings).fit(TOWNS), KNOWN)
    check(OneHotEncoder(**settings).fit(TOWNS), UNKNOWN)
    columns = make_column_transformer((OneHotEncoder(**settings), ["town"]), remainder="passthrough")
    check(make_pipeline(columns, Ridge()).fit(TOWNS, range(90)), UNKNOWN)


@pytest.mark.parametrize("settings", [{}, {"drop": "if_binary"}, {"max_categories": 2}], ids=str)
def test_an_unknown_category_is_refused_where_the_encoder_refuses_it(settings: dict[str, Any]) -> None:
    check(OneHotEncoder(**settings).fit(TOWNS), KNOWN)
    with pytest.raises(Exception, match=r"unknown categories|out of data bounds"):
        answers(OneHotEncoder(**settings).fit(TOWNS), UNKNOWN)


def test_a_missing_number_is_a_category_of_its_own() -> None:
    check(OneHotEncoder().fit(NUMBERS), NUMBERS)
    check(OneHotEncoder(handle_unknown="ignore").fit(NUMBERS), np.concatenate([NUMBERS, ODD]))
    assert loaded(OneHotEncoder().fit(NUMBERS)).inputs[0].domain.missing


@pytest.mark.parametrize(
    "settings",
    [
        {"encoded_missing_value": -2},
        {"handle_unknown": "use_encoded_value", "unknown_value": -1},
        {"handle_unknown": "use_encoded_value", "unknown_value": NAN, "encoded_missing_value": -5},
        {"handle_unknown": "use_encoded_value", "unknown_value": 99, "max_categories": 3, "encoded_missing_value": -3},
        {"min_frequency": 15},
    ],
    ids=str,
)
def test_ordinal_encoders_have_codes_for_missing_infrequent_and_unknown_values(settings: dict[str, Any]) -> None:
    accepts = "unknown_value" in settings
    check(OrdinalEncoder(**settings).fit(NUMBERS), np.concatenate([NUMBERS, ODD]) if accepts else NUMBERS)
    check(OrdinalEncoder(**settings).fit(TOWNS), UNKNOWN if accepts else KNOWN)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_target_encoders_answer_the_mean_for_unknown_categories(classes: int) -> None:
    target = np.arange(90) % classes if classes else np.arange(90.0)
    check(TargetEncoder().fit(TOWNS, target), UNKNOWN)
    check(TargetEncoder().fit(NUMBERS, target[:60]), np.concatenate([NUMBERS, ODD]))


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_imputers_replace_missing_values_and_mark_them(strategy: str, indicator: bool) -> None:
    imputer = SimpleImputer(strategy=strategy, add_indicator=indicator)
    check(make_pipeline(imputer, LinearRegression()).fit(HOLES, TABLE[:, 0]), HOLES)
    check(SimpleImputer(strategy=strategy, add_indicator=indicator, fill_value=-5).fit(HOLES), HOLES)


def test_imputers_know_other_missing_values_empty_columns_and_whole_numbers() -> None:
    check(SimpleImputer(missing_values=-1).fit(np.nan_to_num(HOLES, nan=-1)), np.nan_to_num(HOLES, nan=-1))
    empty = HOLES.copy()
    empty[:, 1] = NAN
    check(SimpleImputer().fit(empty), HOLES)
    check(SimpleImputer(keep_empty_features=True).fit(empty), HOLES)
    wholes = RANDOM.integers(-1, 5, (80, 3))
    asked = InputShape("", (1, 3), "int64")
    check(SimpleImputer(missing_values=-1, strategy="most_frequent").fit(wholes), wholes, asked)
    check(MissingIndicator(features="all").fit(HOLES), HOLES)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_the_nearest_rows_by_their_common_columns_are_imputed(weights: str) -> None:
    model = KNNImputer(n_neighbors=3, weights=weights, add_indicator=True).fit(HOLES)
    check(model, np.concatenate([HOLES, TABLE, np.full((1, 3), NAN)]))


def test_the_domain_has_values_that_were_not_fitted_and_all_infrequent_ones() -> None:
    many = pandas.DataFrame({"town": [f"often {number % 80}" for number in range(800)] + ["rare", "rarer"]})
    domain = loaded(OneHotEncoder(handle_unknown="ignore", min_frequency=3).fit(many)).inputs[0].domain
    assert {"rare", "rarer"} <= set(domain.choices)
    assert "" in domain.others
    assert not set(domain.others) & set(many.town)
    numbers = loaded(OneHotEncoder(handle_unknown="ignore").fit([[1], [5]])).inputs[0].domain
    assert {0, 6} <= set(numbers.others)
    assert not set(numbers.others) & {1, 5}


@pytest.mark.parametrize("encoder", [OneHotEncoder(sparse_output=False), OrdinalEncoder()], ids=repr)
def test_an_encoder_that_answers_data_frames_is_served(encoder: Any) -> None:
    model = make_pipeline(make_column_transformer((encoder, ["town"])).set_output(transform="pandas"), Ridge())
    frame = pandas.DataFrame({"town": ["a", "b", "c", "a"]})
    check(model.fit(frame, [1, 2, 3, 4]), {"town": frame.to_numpy(object)})


def test_missing_texts_are_told_to_be_out_of_reach() -> None:
    frame = pandas.DataFrame({"town": ["a", None, "c", "a"], "size": [1.0, 2, 3, 4]})
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    for step in (OneHotEncoder(), filled):
        model = make_pipeline(make_column_transformer((step, ["town"]), remainder="passthrough"), Ridge())
        source = loaded(model.fit(frame, [1, 2, 3, 4]))
        (note,) = source.notes
        assert note.startswith("the model knows what to do without town, but Triton can't send a missing text")
        assert source.preprocess is not None
        assert source.preprocess["missing"] == {"town": "a" if step is filled else ""}


def test_only_columns_with_missing_texts_are_told() -> None:
    frame = pandas.DataFrame({"sex": ["m", "f", "f", "m"], "town": ["a", None, "c", "a"], "size": [1.0, 2, 3, 4]})
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    for parts in ([(OneHotEncoder(), ["sex", "town"])], [(OneHotEncoder(), ["sex"]), (filled, ["town"])]):
        model = make_pipeline(make_column_transformer(*parts, remainder="passthrough"), Ridge())
        source = loaded(model.fit(frame, [1, 2, 3, 4]))
        assert source.preprocess is not None
        assert list(source.preprocess["missing"]) == ["town"]
        assert " without town," in source.notes[0]
