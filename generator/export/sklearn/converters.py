"""Converters for skl2onnx: ours, for XGBoost and LightGBM and in place of wrong ones."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from modelrepo.generator.export.sklearn import (
    bins,
    categories,
    constants,
    formulas,
    histograms,
    imputers,
    lightgbm_trees,
    powers,
    quantiles,
    selection,
    targets,
    texts,
    trees,
    xgboost_trees,
)

CLASSIFIER = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [True, False]}
TREE = {"decision_path": [True, False], "decision_leaf": [True, False]}
TREES = {**CLASSIFIER, **TREE}
FOREST = {**TREES, "raw_scores": [True, False]}
VECTORIZERS = ("CountVectorizer", "TfidfVectorizer")
Convert = Callable[[Any, Any, Any], None]
Shapes = Callable[[Any], None]


@dataclass(frozen=True)
class Mend:
    """A converter of ours, in place of skl2onnx's or where it has none."""

    module: str  # of the estimators
    names: tuple[str, ...]
    convert: Convert
    shapes: Shapes
    options: Any = None


# Another estimator is another row; why it is here is told by the module of its converter.
MENDS = (
    Mend("sklearn.preprocessing", ("OneHotEncoder",), categories.one_hot, categories.one_hot_shapes),
    Mend("sklearn.preprocessing", ("OrdinalEncoder",), categories.ordinal, categories.ordinal_shapes),
    Mend("sklearn.preprocessing", ("TargetEncoder",), categories.target, categories.target_shapes),
    Mend("sklearn.preprocessing", ("KBinsDiscretizer",), bins.binned, bins.binned_shapes),
    Mend("sklearn.preprocessing", ("Binarizer",), bins.threshold, bins.threshold_shapes),
    Mend("sklearn.feature_selection", selection.SELECTORS, selection.chosen, selection.shapes),
    Mend("sklearn.decomposition", formulas.LINEAR_TRANSFORMERS, formulas.linear_transformer, formulas.shapes),
    Mend("sklearn.random_projection", ("SparseRandomProjection",), formulas.linear_transformer, formulas.shapes),
    Mend("sklearn.cross_decomposition", ("PLSSVD",), formulas.linear_transformer, formulas.shapes),
    Mend("sklearn.cross_decomposition", formulas.LINEAR_REGRESSORS, formulas.linear_regressor, formulas.shapes),
    Mend("sklearn.neural_network", ("BernoulliRBM",), formulas.machine, formulas.shapes),
    Mend("sklearn.kernel_approximation", ("RBFSampler", "SkewedChi2Sampler"), formulas.waves, formulas.shapes),
    Mend("sklearn.kernel_approximation", ("Nystroem",), formulas.kernel_map, formulas.shapes),
    Mend("sklearn.kernel_ridge", ("KernelRidge",), formulas.kernel_regressor, formulas.shapes),
    Mend("sklearn.covariance", ("EllipticEnvelope",), formulas.envelope, formulas.envelope_shapes),
    Mend("sklearn.dummy", ("DummyClassifier",), constants.classifier, constants.classifier_shapes, CLASSIFIER),
    Mend("sklearn.dummy", ("DummyRegressor",), constants.regressor, constants.regressor_shapes),
    Mend("sklearn.compose", ("TransformedTargetRegressor",), targets.regressor, targets.shapes),
    Mend("sklearn.impute", ("KNNImputer",), imputers.neighbours, imputers.neighbours_shapes),
    Mend("sklearn.preprocessing", ("QuantileTransformer",), quantiles.transformer, quantiles.transformer_shapes),
    Mend("sklearn.preprocessing", ("PowerTransformer",), powers.transformer, powers.shapes),
    Mend("sklearn.preprocessing", ("FunctionTransformer",), powers.function, powers.shapes),
    Mend("sklearn.ensemble", ("GradientBoostingClassifier",), trees.convert, trees.shapes, FOREST),
    Mend("sklearn.feature_extraction.text", VECTORIZERS, texts.vectorizer, texts.vectorizer_shapes),
    Mend("sklearn.feature_extraction.text", ("TfidfTransformer",), texts.weights, texts.weights_shapes),
    Mend("sklearn.impute", ("SimpleImputer",), imputers.imputer, imputers.imputer_shapes),
    Mend("sklearn.impute", ("MissingIndicator",), imputers.indicator, imputers.indicator_shapes),
    Mend("sklearn.tree", ("DecisionTreeClassifier", "ExtraTreeClassifier"), trees.convert, trees.shapes, TREES),
    Mend("sklearn.tree", ("DecisionTreeRegressor", "ExtraTreeRegressor"), trees.convert, trees.shapes, TREE),
    Mend("sklearn.ensemble", ("RandomForestClassifier", "ExtraTreesClassifier"), trees.convert, trees.shapes, FOREST),
    Mend("sklearn.ensemble", ("RandomForestRegressor", "ExtraTreesRegressor"), trees.convert, trees.shapes, TREE),
    Mend("sklearn.ensemble", ("GradientBoostingRegressor",), trees.convert, trees.shapes),
    Mend(
        "sklearn.ensemble",
        ("HistGradientBoostingClassifier",),
        histograms.classifier,
        histograms.classifier_shapes,
        CLASSIFIER,
    ),
    Mend("sklearn.ensemble", ("HistGradientBoostingRegressor",), histograms.regressor, histograms.regressor_shapes),
    Mend(
        "xgboost",
        ("XGBClassifier", "XGBRFClassifier"),
        xgboost_trees.classifier,
        xgboost_trees.classifier_shapes,
        CLASSIFIER,
    ),
    Mend(
        "xgboost",
        ("XGBRegressor", "XGBRFRegressor", "XGBRanker"),
        xgboost_trees.regressor,
        xgboost_trees.regressor_shapes,
    ),
    Mend("lightgbm", ("LGBMClassifier",), lightgbm_trees.classifier, lightgbm_trees.classifier_shapes, CLASSIFIER),
    Mend("lightgbm", ("LGBMRegressor", "LGBMRanker"), lightgbm_trees.regressor, lightgbm_trees.regressor_shapes),
)
BOOSTERS = ("xgboost", "lightgbm")


def register(estimator: Any) -> None:
    """Register converters with skl2onnx; those of XGBoost and LightGBM only if the estimator uses them."""
    _corrected()
    for package in ("sklearn", *BOOSTERS):
        if package == "sklearn" or (package in sys.modules and _is_within(estimator, package)):
            _register(package)


@cache
def _register(package: str) -> None:
    import importlib

    from skl2onnx import update_registered_converter

    for mend in MENDS:
        if mend.module.partition(".")[0] == package:
            module = importlib.import_module(mend.module)
            for name in mend.names:
                kind = getattr(module, name)
                update_registered_converter(kind, f"Mended{name}", mend.shapes, mend.convert, options=mend.options)


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
def _corrected() -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.operator_converters import calibrated_classifier_cv, gaussian_process, nearest_neighbours
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
    calibrated_classifier_cv._transform_isotonic = quantiles.isotonic
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
