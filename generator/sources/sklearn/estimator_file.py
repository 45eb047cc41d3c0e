"""Files with a fitted estimator: skops, trusted pickles, and the formats of XGBoost and LightGBM."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, first_line
from modelrepo.generator.sources import content, formats
from modelrepo.generator.system.environment import extra_command
from modelrepo.generator.system.extras import BOOSTING, SKLEARN, need

# The formats of XGBoost and LightGBM themselves.
XGBOOST, LIGHTGBM = "xgboost", "lightgbm"
# Types that skops leaves to the user to trust, but that are plain Python: they only compute with numpy, whatever their
# content. Compiled types, such as trees and boosters, are not among them: they read memory addresses from the file.
HARMLESS = {
    "collections.OrderedDict",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(
        f"sklearn.gaussian_process.kernels.{name}"
        for name in (
            "ConstantKernel",
            "DotProduct",
            "Matern",
            "Product",
            "RationalQuadratic",
            "RBF",
            "Sum",
            "WhiteKernel",
        )
    ),
    *(f"sklearn.feature_selection._univariate_selection.{name}" for name in ("chi2", "f_classif", "f_regression")),
    *(f"sklearn.neural_network._stochastic_optimizers.{name}Optimizer" for name in ("Adam", "SGD")),
}
SHOWN_TYPES = 4
ALONE = "Save the fitted estimator alone, such as with joblib.dump(model, 'model.joblib')"
CODE = "Write a function that loads and returns it, in a file such as nets.py; then --model python:nets:FUNCTION"
# What pickles hold that are no estimators, by the package of the class that they begin with, and the next step.
OTHERS = {
    "dict": ("a dict", ALONE),
    "list": ("a list", ALONE),
    "tuple": ("a tuple", ALONE),
    "numpy": ("an array", ALONE),
    "joblib": ("an array", ALONE),
    "pandas": ("a table of pandas", ALONE),
    "collections": ("an OrderedDict", "A state dict of PyTorch is saved with torch.save(state, 'net.pth')"),
    "torch": ("a PyTorch model", CODE),
    "keras": ("a Keras model", CODE),
    "tensorflow": ("a TensorFlow model", CODE),
}


@dataclass(frozen=True)
class EstimatorFile:
    """The content of a file: a fitted estimator, and notes from reading it."""

    estimator: Any
    notes: tuple[str, ...] = ()


def kind_of(path: Path) -> str:
    """Return "skops", "pickle", "xgboost" or "lightgbm", by the content; SourceError for anything else."""
    return formats.expect(path, "skops", "pickle", XGBOOST, LIGHTGBM)


def check(path: Path, trust: bool) -> str:
    """Return the kind of a file that may be read; SourceError for one that would run code, or holds unknown types."""
    kind = kind_of(path)
    if kind == "pickle":
        need("sklearn", SKLEARN)
        _refuse_others(path)
        if not trust:
            raise SourceError(f"{path} is a pickle, and reading it runs the code that it holds", _trusted(path))
    elif kind == "skops":
        unknown = sorted(_unknown_types(path) - HARMLESS)
        if unknown and not trust:
            more = f" and {len(unknown) - SHOWN_TYPES} more" if len(unknown) > SHOWN_TYPES else ""
            raise SourceError(
                f"{path} holds types that skops does not trust: {', '.join(unknown[:SHOWN_TYPES])}{more}",
                _trusted(path),
            )
    else:
        need(kind, BOOSTING)
    return kind


def _trusted(path: Path) -> str:
    return f"If you trust who made it: --model {formats.reference('sklearn', path)} --trust-source"


def _refuse_others(path: Path) -> None:
    """Raise SourceError for a pickle that is certainly not an estimator, before the user is asked to trust it."""
    package = content.pickled_class(path).partition(" ")[0].partition(".")[0]
    if package in OTHERS:
        what, instead = OTHERS[package]
        raise SourceError(f"{path} is a pickle of {what}, not of an estimator", instead)


def read(path: Path, trust: bool) -> EstimatorFile:
    """Return the fitted estimator of a file of any kind; SourceError with the reason if it can't be used."""
    kind = check(path, trust)
    readers = {"skops": _read_skops, "pickle": _read_pickle, XGBOOST: _read_xgboost, LIGHTGBM: _read_lightgbm}
    with warnings.catch_warnings(record=True) as caught, _readable(path):
        warnings.simplefilter("always")
        estimator = readers[kind](path)
    return EstimatorFile(estimator, _version_notes(caught))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn a reader's error of any kind into a SourceError of one line."""
    try:
        yield
    except (SourceError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in BOOSTING.modules:
            raise SourceError(f"{path} needs {name}, which is not installed", extra_command(BOOSTING.name)) from error
        raise SourceError(
            f"{path} needs the module {error.name}, which is not installed",
            "Run generate where it can be imported: with PYTHONPATH=FOLDER, or with its package installed",
        ) from error
    except AttributeError as error:
        raise SourceError(
            f"{path} needs code that can't be imported: {first_line(error)}",
            "Put your own classes and functions into a module that can be imported, not into a script or notebook",
        ) from error
    except Exception as error:
        raise SourceError(
            f"can't read {path}: {type(error).__name__}: {first_line(error)}",
            "Save it again, with the package versions that are installed here",
        ) from error


def _unknown_types(path: Path) -> set[str]:
    skops = need("skops.io", SKLEARN)
    need("sklearn", SKLEARN)
    with warnings.catch_warnings(), _readable(path):
        warnings.simplefilter("ignore")
        return set(skops.get_untrusted_types(file=path))


def _read_skops(path: Path) -> Any:
    import skops.io

    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def _read_pickle(path: Path) -> Any:
    """Return the object of a pickle; a booster as the estimator that its own file would be read as."""
    import joblib

    found = joblib.load(path)
    package = type(found).__module__.partition(".")[0]
    if type(found).__name__ != "Booster" or package not in (XGBOOST, LIGHTGBM):
        return found
    return _xgboost_estimator(found.save_raw("json")) if package == XGBOOST else _lightgbm_estimator(found)


def _read_xgboost(path: Path) -> Any:
    import xgboost

    try:
        xgboost.Booster(model_file=path)
    except (xgboost.core.XGBoostError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not a complete XGBoost model", "Save or download it again") from error
    return _xgboost_estimator(path)


def _xgboost_estimator(model: Any) -> Any:
    """Return a booster, in a file or in bytes, as the estimator of its objective."""
    import xgboost

    objective = json.loads(xgboost.Booster(model_file=model).save_config())["learner"]["objective"]["name"]
    kinds = {"binary": xgboost.XGBClassifier, "multi": xgboost.XGBClassifier, "rank": xgboost.XGBRanker}
    estimator = kinds.get(objective.partition(":")[0], xgboost.XGBRegressor)()
    estimator.load_model(model)
    return estimator


def _read_lightgbm(path: Path) -> Any:
    import lightgbm

    text = path.read_text("utf-8")
    if "\nend of trees" not in text:  # LightGBM itself would load the trees that are left
        raise SourceError(f"{path} is truncated", "Save or download it again")
    return _lightgbm_estimator(lightgbm.Booster(model_str=text))


def _lightgbm_estimator(booster: Any) -> Any:
    """Return a booster as one of LightGBM's estimators, which LightGBM does not make of one itself."""
    import lightgbm
    import numpy as np
    from sklearn.preprocessing import LabelEncoder

    text = booster.model_to_string(num_iteration=booster.best_iteration if booster.best_iteration > 0 else -1)
    booster = lightgbm.Booster(model_str=text)
    fields = dict(line.partition("=")[::2] for line in text.partition("\nTree=")[0].splitlines())
    objective = fields.get("objective", "regression").partition(" ")[0]
    classes = int(fields["num_class"])
    estimator: Any
    if objective.startswith(("binary", "multiclass")):
        estimator = lightgbm.LGBMClassifier(objective=objective)
        estimator._n_classes = max(2, classes)
        estimator._classes = np.arange(estimator._n_classes)
        estimator._le = LabelEncoder().fit(estimator._classes)
    else:
        ranks = objective.startswith(("lambdarank", "rank"))
        estimator = (lightgbm.LGBMRanker if ranks else lightgbm.LGBMRegressor)(objective=objective)
    estimator._Booster = booster
    estimator._objective = objective
    estimator._best_iteration = -1
    estimator._n_features = estimator._n_features_in = booster.num_feature()
    estimator.fitted_ = True
    return estimator


def _version_notes(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return a note on an estimator that another version of scikit-learn made."""
    for warning in caught:
        made = getattr(warning.message, "original_sklearn_version", None)
        if made:
            here = getattr(warning.message, "current_sklearn_version", "another version")
            return (f"it was made with scikit-learn {made} and read with {here}, which may understand it differently",)
    return ()
