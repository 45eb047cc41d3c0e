"""Converters for skl2onnx: those of onnxmltools for XGBoost and LightGBM, and ours to replace wrong ones."""

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.system.extras import BOOSTING, need

# The booster whose trees onnxmltools reads: it ignores the weights of dart's.
TREES = "gbtree"
CLASSIFIER = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [True, False]}


def register(estimator: Any) -> None:
    """Register converters with skl2onnx; those of XGBoost and LightGBM only if the estimator uses them."""
    _corrected()
    if "xgboost" in sys.modules and _is_within(estimator, "xgboost"):
        _xgboost()
    if "lightgbm" in sys.modules and _is_within(estimator, "lightgbm"):
        _lightgbm()


def _is_within(estimator: Any, package: str) -> bool:
    """Whether an estimator or one of its parts belongs to a package."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if type(each).__module__.partition(".")[0] == package:
            return True
        if isinstance(each, (list, tuple)):
            waiting += each
        elif hasattr(each, "get_params"):
            waiting += vars(each).values()
        elif type(each).__module__.startswith("sklearn."):  # such as the parts of a CalibratedClassifierCV
            waiting += getattr(each, "__dict__", {}).values()
    return False


@cache
def _xgboost() -> None:
    need("onnxmltools", BOOSTING)
    import xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    for kind in (xgboost.XGBClassifier, xgboost.XGBRFClassifier):
        update_registered_converter(
            kind,
            f"XGBoost{kind.__name__}",
            calculate_linear_classifier_output_shapes,
            _xgboost_classifier,
            options=CLASSIFIER,
        )
    for kind in (xgboost.XGBRegressor, xgboost.XGBRFRegressor, xgboost.XGBRanker):
        update_registered_converter(
            kind,
            f"XGBoost{kind.__name__}",
            calculate_linear_regressor_output_shapes,
            _xgboost_by_place,
        )


def _xgboost_by_place(scope: Any, operator: Any, container: Any) -> None:
    """Convert as onnxmltools does, which reads only trees, and needs columns without names."""
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    kind = operator.raw_operator.booster or TREES
    if kind != TREES:
        raise ConversionError(f"onnxmltools does not convert XGBoost's booster {kind!r}", f"Fit one of {TREES!r}")
    booster = operator.raw_operator.get_booster()
    names, booster.feature_names = booster.feature_names, None
    try:
        convert_xgboost(scope, operator, container)
    finally:
        booster.feature_names = names


def _xgboost_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert as onnxmltools does, and correct the classes of parallel trees.

    onnxmltools assigns each tree to the next class. If several are grown at once for one class, as in a random forest,
    that many trees in a row belong to one class.
    """
    import json

    before = len(container.nodes)
    _xgboost_by_place(scope, operator, container)
    learner = json.loads(operator.raw_operator.get_booster().save_config())["learner"]
    parallel = int(learner["gradient_booster"]["gbtree_model_param"]["num_parallel_tree"])
    classes = int(learner["learner_model_param"]["num_class"])
    for node in container.nodes[before:] if parallel > 1 and classes > 1 else ():
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "class_ids" in attributes:
            trees = attributes["class_treeids"].ints
            attributes["class_ids"].ints[:] = [tree // parallel % classes for tree in trees]


@cache
def _lightgbm() -> None:
    need("onnxmltools", BOOSTING)
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options=CLASSIFIER,
    )
    for kind in (lightgbm.LGBMRegressor, lightgbm.LGBMRanker):
        update_registered_converter(
            kind,
            f"LightGbm{kind.__name__}",
            calculate_linear_regressor_output_shapes,
            convert_lightgbm,
            options={"split": None},
        )


@cache
def _corrected() -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.operator_converters import gaussian_process, nearest_neighbours
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    converters = {
        LinearDiscriminantAnalysis: _as_logistic_regression,
        TunedThresholdClassifierCV: _with_threshold,
        FixedThresholdClassifier: _with_threshold,
    }
    for kind, converter in converters.items():
        update_registered_converter(
            kind,
            f"Corrected{kind.__name__}",
            calculate_linear_classifier_output_shapes,
            converter,
            options={**CLASSIFIER, "raw_scores": [True, False]},
        )
    gaussian_process.OnnxSolve = _solved
    within = nearest_neighbours.onnx_nearest_neighbors_indices_radius
    nearest_neighbours.onnx_nearest_neighbors_indices_radius = partial(_with_places, within)


def _as_logistic_regression(scope: Any, operator: Any, container: Any) -> None:
    """Convert a linear discriminant analysis as the logistic regression with its coefficients.

    Both return the logistic function of the decision for two classes, and softmax for more; skl2onnx 1.20 writes the
    softmax of the decision and its negative for two.
    """
    from sklearn.linear_model import LogisticRegression

    own = operator.raw_operator
    same = LogisticRegression()
    same.coef_, same.intercept_, same.classes_ = own.coef_, own.intercept_, own.classes_
    same.n_features_in_ = own.n_features_in_
    label, probabilities = _inner(scope, operator, same)
    container.add_node("Identity", [label], [operator.outputs[0].full_name])
    container.add_node("Identity", [probabilities], [operator.outputs[1].full_name])


def _with_threshold(scope: Any, operator: Any, container: Any) -> None:
    """Convert a classifier with a threshold for its label; skl2onnx 1.20 takes the larger probability."""
    import numpy as np
    from onnx import TensorProto

    own = operator.raw_operator
    if not hasattr(own.estimator_, "predict_proba"):
        raise NotImplementedError(f"{type(own).__name__} of a classifier without probabilities")
    curve = getattr(own, "_curve_scorer", None)
    positive = own.pos_label if curve is None else curve._get_pos_label()
    place = 1 if positive is None else int(np.flatnonzero(own.classes_ == positive)[0])
    threshold = own.best_threshold_ if curve is not None else 0.5 if own.threshold == "auto" else own.threshold
    _, probabilities = _inner(scope, operator, own.estimator_)
    names = {name: scope.get_unique_variable_name(name) for name in ("place", "limit", "classes", "shape")}
    is_text = own.classes_.dtype.kind in "OUS"
    classes = own.classes_[[1 - place, place]].tolist()
    container.add_initializer(names["place"], TensorProto.INT64, [1], [place])
    container.add_initializer(names["limit"], TensorProto.FLOAT, [1], [float(threshold)])
    container.add_initializer(
        names["classes"],
        TensorProto.STRING if is_text else TensorProto.INT64,
        [2],
        [str(each).encode() for each in classes] if is_text else [int(each) for each in classes],
    )
    container.add_initializer(names["shape"], TensorProto.INT64, [1], [-1])

    def then(operation: str, inputs: list[str], **attributes: Any) -> str:
        result = scope.get_unique_variable_name(f"threshold_{operation.lower()}")
        container.add_node(operation, inputs, [result], name=scope.get_unique_operator_name(operation), **attributes)
        return str(result)

    as_float = then("Cast", [probabilities], to=TensorProto.FLOAT)
    score = then("ArrayFeatureExtractor", [as_float, names["place"]], op_domain="ai.onnx.ml")
    reached = then("Not", [then("Less", [score, names["limit"]])])
    index = then("Reshape", [then("Cast", [reached], to=TensorProto.INT64), names["shape"]])
    container.add_node("Gather", [names["classes"], index], [operator.outputs[0].full_name], axis=0)
    container.add_node("Identity", [probabilities], [operator.outputs[1].full_name])


def _inner(scope: Any, operator: Any, estimator: Any) -> tuple[str, str]:
    """Convert another classifier on the same inputs, and return the names of its label and of its probabilities."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common.data_types import Int64TensorType

    inner = scope.declare_local_operator(sklearn_operator_name_map[type(estimator)], estimator)
    inner.inputs = operator.inputs
    label = scope.declare_local_variable("inner_label", Int64TensorType())
    probabilities = scope.declare_local_variable("inner_probabilities", operator.outputs[1].type.__class__())
    inner.outputs.extend([label, probabilities])
    return str(label.onnx_name), str(probabilities.onnx_name)


def _with_places(within: Callable[..., Any], *arguments: Any, op_version: int, **more: Any) -> Any:
    """Find neighbours within a radius; those outside, which have no weight, get a valid index.

    skl2onnx gives them the index -1, which ONNX Runtime refuses.
    """
    import numpy as np
    from skl2onnx.algebra.onnx_ops import OnnxMax

    places, distances, weights = within(*arguments, op_version=op_version, **more)
    return OnnxMax(places, np.zeros(1, np.int64), op_version=op_version), distances, weights


def _solved(matrix: Any, right: Any, op_version: int) -> Any:
    """Solve by the inverse, since skl2onnx writes an operator that no runtime has.

    The matrix, of a Gaussian process classifier, is the Cholesky factor of a matrix with eigenvalues of at least 1.
    """
    import numpy as np
    from skl2onnx.algebra.onnx_ops import OnnxMatMul

    inverse = np.linalg.inv(matrix.astype(np.float64)).astype(matrix.dtype)
    return OnnxMatMul(inverse, right, op_version=op_version)
