"""Every classifier and regressor of scikit-learn that skl2onnx names, and those of XGBoost and LightGBM, fitted."""

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from modelrepo.generator.export.sklearn import converters

SAMPLES, FEATURES, SEED = 120, 5, 0
# What `save` writes, and is read only with --trust-source: skops vouches for few of the trees.
FILE = "model.skops"
Build = Callable[[], Any]


@cache
def models() -> dict[str, tuple[str, Build]]:
    """Return every estimator by its name: "classifier" or "regressor", and what builds it."""
    found = {"classifier": classifiers(), "regressor": regressors()}
    return {name: (kind, build) for kind, builds in found.items() for name, build in builds.items()}


def save(name: str, folder: Path) -> None:
    """Fit the estimator called ``name`` on seeded samples and write it into ``folder`` as ``FILE``."""
    import skops.io

    kind, build = models()[name]
    skops.io.dump(fitted(kind, name, build), folder / FILE)


def fitted(kind: str, name: str, build: Build) -> Any:
    """Return an estimator fitted on seeded samples, float32 (120, 5); of multi-output ones each answers two things."""
    from threadpoolctl import threadpool_limits

    features, targets = samples(kind, name)
    with warnings.catch_warnings(), threadpool_limits(1):  # on a busy machine threads wait for each other
        warnings.simplefilter("ignore")  # some do not converge in the few steps that they are given
        return build().fit(features, targets)


def samples(kind: str, name: str) -> tuple[Any, Any]:
    """Return features and targets that an estimator takes: counts, positive numbers or two columns where it wants."""
    import numpy as np

    random = np.random.default_rng(SEED)
    features: Any = random.standard_normal((SAMPLES, FEATURES))
    scores = features @ random.standard_normal((FEATURES, 3)) + 0.3 * random.standard_normal((SAMPLES, 3))
    if name in ("MultinomialNB", "ComplementNB"):
        features = np.abs(features)
    if name == "CategoricalNB":
        features = random.integers(0, 4, (SAMPLES, FEATURES))
        scores[:, 0] += features[:, 0]
    features = features.astype(np.float32)
    several = name.startswith(("MultiOutput", "MultiTask"))
    if kind == "classifier":
        classes = 2 if name in TWO_CLASSES else 3
        targets = scores[:, :classes].argmax(axis=1)
        return features, np.column_stack([targets, targets == 0]).astype(int) if several else targets
    targets = np.exp(scores[:, 0] / 4)  # above zero, as Gamma and Poisson want it
    return features, np.column_stack([targets, targets**2]) if several else targets


# skl2onnx, or the estimator itself, knows no more.
TWO_CLASSES = {"FixedThresholdClassifier", "GaussianProcessClassifier", "TunedThresholdClassifierCV"}


def classifiers() -> dict[str, Build]:
    """Return how each classifier is built, by its name."""
    import lightgbm
    import xgboost

    more = {
        "XGBClassifier": lambda: xgboost.XGBClassifier(n_estimators=8, max_depth=3),
        "XGBRFClassifier": lambda: xgboost.XGBRFClassifier(n_estimators=8, max_depth=3),
        "LGBMClassifier": lambda: lightgbm.LGBMClassifier(n_estimators=8, min_child_samples=5, verbose=-1),
    }
    return {**_builders("classifier"), **more}


def regressors() -> dict[str, Build]:
    """Return how each regressor is built, by its name."""
    import lightgbm
    import xgboost

    more = {
        "XGBRegressor": lambda: xgboost.XGBRegressor(n_estimators=8, max_depth=3),
        "XGBRFRegressor": lambda: xgboost.XGBRFRegressor(n_estimators=8, max_depth=3),
        "LGBMRegressor": lambda: lightgbm.LGBMRegressor(n_estimators=8, min_child_samples=5, verbose=-1),
    }
    return {**_builders("regressor"), **more}


def _builders(kind: str) -> dict[str, Build]:
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from sklearn.utils import all_estimators

    converters.register(None)  # ours as well
    named = [(name, each) for name, each in all_estimators(type_filter=kind) if each in sklearn_operator_name_map]
    return {name: _builder(kind, name, each) for name, each in named}


def _builder(kind: str, name: str, estimator: Any) -> Build:
    def build() -> Any:
        takes = inspect.signature(estimator).parameters
        arguments: dict[str, Any] = {
            "random_state": SEED,
            "n_estimators": 8,
            "max_iter": 5 if name == "OrthogonalMatchingPursuitCV" else 200,  # there, how many features it may take
            "estimator": _inner(kind),
            "estimators": [("linear", _inner(kind)), ("tree", _tree(kind))],
            "radius": 2.0,
            "n_components": 1,
            "alpha": 0.01,
        }
        needed = {argument for argument, each in takes.items() if each.default is each.empty}
        alpha = {"alpha"} if name in ("Lasso", "LassoLars", "QuantileRegressor") else ()  # theirs leaves no column
        single = {"n_components"} if name in ("CCA", "PLSCanonical") else ()  # there is one target
        wanted = {"random_state", "n_estimators", "max_iter", "radius", *alpha, *single} & takes.keys() | needed
        return estimator(**{argument: arguments[argument] for argument in wanted if argument in arguments})

    return build


def _inner(kind: str) -> Any:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    return LogisticRegression() if kind == "classifier" else LinearRegression()


def _tree(kind: str) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    tree = DecisionTreeClassifier if kind == "classifier" else DecisionTreeRegressor
    return tree(max_depth=4, random_state=SEED)
