"""The faults of skl2onnx and onnxmltools that we mend: a test that fails here tells that a mend is no longer needed."""

import warnings
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
import xgboost
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from modelrepo.generator.export.sklearn.converters import MENDS

RANDOM = np.random.default_rng(0)
FULL = RANDOM.normal(size=(100, 2)).astype(np.float32)
HOLES = np.where(RANDOM.random(FULL.shape) < 0.3, np.float32(np.nan), FULL)
NUMBER = FULL[:, 0] + np.isnan(HOLES[:, 0])
COUNTS = np.where(RANDOM.random((60, 2)) < 0.2, np.nan, RANDOM.integers(0, 3, (60, 2)))
ZEROS = np.where(RANDOM.random(FULL.shape) < 0.3, np.float32(0), FULL)


def unmended(model: Any, rows: Any, kind: Any = FloatTensorType, custom: Any = None) -> Any:
    """Return what a model answers as skl2onnx converts it, without our converters."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    name = type(model).__name__
    before = sklearn_operator_name_map.get(type(model))
    more = {}
    if not custom:
        sklearn_operator_name_map[type(model)] = f"Sklearn{name}"
    else:
        sklearn_operator_name_map.pop(type(model), None)
        more = {
            "custom_conversion_functions": {type(model): custom},
            "custom_shape_calculators": {type(model): calculate_linear_regressor_output_shapes},
        }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            initial = [("input", kind([None, rows.shape[1]]))]
            written = convert_sklearn(model, initial_types=initial, target_opset={"": 17, "ai.onnx.ml": 3}, **more)
    finally:
        sklearn_operator_name_map.pop(type(model), None)
        if before is not None:
            sklearn_operator_name_map[type(model)] = before
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": rows})[0]


def differs(model: Any, rows: Any, method: str, **more: Any) -> bool:
    expected = np.asarray(getattr(model, method)(rows)).reshape(len(rows), -1)
    return not np.allclose(unmended(model, rows, **more).reshape(len(rows), -1), expected, atol=1e-5, equal_nan=True)


def test_trees_send_missing_values_to_the_right() -> None:  # onnx/sklearn-onnx#1253
    assert differs(DecisionTreeRegressor(max_depth=4).fit(HOLES, NUMBER), HOLES, "predict")


def test_limits_of_histogram_gradient_boosting_are_rounded_to_the_nearest() -> None:
    model = HistGradientBoostingRegressor(max_iter=5).fit(1e6 * FULL.astype(np.float64), NUMBER)
    limits = [node["num_threshold"] for (tree,) in model._predictors for node in tree.nodes if not node["is_leaf"]]
    rows = np.array([[limit, limit] for limit in limits], np.float32)
    assert differs(model, rows, "predict")


@pytest.mark.parametrize(
    ("model", "rows", "kind"),
    [
        (DecisionTreeClassifier().fit(FULL, RANDOM.integers(0, 2, (100, 2)) * [1, 2]), FULL, FloatTensorType),
        (DecisionTreeRegressor(max_depth=2).fit(FULL, NUMBER), FULL.astype(np.float64), DoubleTensorType),
        (VarianceThreshold().fit(FULL * [1, 0]), FULL, FloatTensorType),
        (SimpleImputer(add_indicator=True).fit(HOLES), HOLES, FloatTensorType),
        (OneHotEncoder().fit(COUNTS + 0.5), COUNTS + 0.5, DoubleTensorType),
        (KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf").fit(FULL), FULL, FloatTensorType),
    ],
    ids=lambda each: type(each).__name__,
)
def test_some_estimators_are_refused_or_lose_columns(model: Any, rows: Any, kind: Any) -> None:
    try:
        served = unmended(model, rows, kind)
    except Exception:  # the libraries have errors of many kinds
        return
    method = getattr(model, "predict", None) or model.transform
    expected = np.asarray(method(rows).toarray() if isinstance(model, OneHotEncoder) else method(rows))
    assert served.shape != expected.shape


def test_edges_are_rounded_to_float32() -> None:
    rows = np.array([[0.1], [0.2]], np.float32)
    model = Binarizer(threshold=0.1).fit(rows)
    assert unmended(model, rows).ravel()[0] != model.transform(rows.astype(np.float64))[0, 0]


def test_missing_values_get_another_code_and_another_power() -> None:
    assert differs(OrdinalEncoder(encoded_missing_value=-2).fit(COUNTS), COUNTS.astype(np.float32), "transform")
    assert differs(PowerTransformer().fit(HOLES), HOLES, "transform")


def test_tokens_are_ascii() -> None:  # onnx/sklearn-onnx#1175
    texts = np.array([["naïve film"], ["I see a film"]], object)
    model = CountVectorizer(lowercase=False).fit(["see a film", "a na ve day"])
    served = unmended(model, texts, StringTensorType)
    assert served.tolist() != model.transform(texts[:, 0]).toarray().tolist()


def test_onnxmltools_takes_zeros_that_mean_missing_for_numbers() -> None:  # onnx/onnx#6280
    model = lightgbm.LGBMRegressor(n_estimators=3, zero_as_missing=True, n_jobs=1, verbose=-1).fit(ZEROS, NUMBER)
    assert differs(model, ZEROS, "predict", custom=convert_lightgbm)


def test_onnxmltools_refuses_other_missing_values_than_nan() -> None:
    model = xgboost.XGBRegressor(n_estimators=2, missing=0.0, n_jobs=1).fit(ZEROS, NUMBER)
    with pytest.raises(RuntimeError, match="missing values are not nan"):
        unmended(model, ZEROS, custom=convert_xgboost)


def test_skl2onnx_has_no_converter_for_our_formulas() -> None:
    """One that has tells that ours may go."""
    from skl2onnx._supported_operators import build_sklearn_operator_name_map

    theirs = {kind.__name__ for kind in build_sklearn_operator_name_map()}
    ours = ("formulas", "constants", "targets")
    named = {name for mend in MENDS if mend.convert.__module__.endswith(ours) for name in mend.names}
    assert named
    assert not named & theirs
