"""sklearn-onnx's and onnxmltools' tests: each fitted estimator as a pickle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array, Arrays
from tests.foreign.case import Given, Suite, Task
from tests.foreign.unit_tests import Enough, module_of, outcome, replaced

# The method of an estimator behind each output of the published model.
# The package that onnxmltools' tests have their helpers from.
HELPERS = ("onnxmltools.utils",)
METHODS = {"label": "predict", "prediction": "predict", "probabilities": "predict_proba", "output": "transform"}


@dataclass
class Seen:
    """What a test was seen to convert, and the data that it compares the answers for."""

    model: Any = None
    data: Any = None
    complete: bool = False

    def convert(self, original: Any) -> Any:
        """Return a converter that remembers the model, and data that it is given to find the types in."""

        def converting(model: Any, *args: Any, **options: Any) -> Any:
            if hasattr(model, "fit") or hasattr(model, "predict"):
                self.model = model
                data = options.get("X", args[0] if args else None)
                self.data = data if isinstance(data, np.ndarray) or hasattr(data, "columns") else None
            return original(model, *args, **options)

        return converting

    def dump(self, _: Any) -> Any:
        """Return a comparison that ends the test: it names the data, and the model."""

        def dumping(data: Any, model: Any, *args: Any, **options: Any) -> None:
            self.model, self.data, self.complete = model, data, True
            raise Enough

        return dumping

    def session(self, original: Any) -> Any:
        """Return a session that ends the test when it is asked."""
        seen = self

        class Session:
            def __init__(self, *args: Any, **options: Any) -> None:
                self.session = original(*args, **options)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.session, name)

            def run(self, names: Any, feeds: Arrays, *_: Any) -> Any:
                if seen.model is None:
                    return self.session.run(names, feeds)
                if seen.data is None:
                    seen.data = _table(feeds, seen.model)
                seen.complete = True
                raise Enough

        return Session


def _table(feeds: Arrays, model: Any) -> Any:
    """Return the data of an estimator from the inputs of its converted form: a matrix, or a table of columns."""
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    kinds = getattr(model, "feature_types", None) or getattr(getattr(model, "_Booster", None), "feature_types", None)
    if len(arrays) == 1 and "c" not in (kinds or ()):
        return next(iter(arrays.values()))
    import pandas

    if len(arrays) == 1:  # XGBoost knows categories by their values in a data frame alone
        (matrix,) = arrays.values()
        names = getattr(model, "feature_names_in_", None)
        parts = zip(names if names is not None else model.feature_names, matrix.T, kinds or (), strict=True)
        return pandas.DataFrame(
            {name: pandas.Categorical(part.astype(int)) if kind == "c" else part for name, part, kind in parts}
        )
    names = list(getattr(model, "feature_names_in_", arrays))
    columns = [column for array in arrays.values() for column in array.reshape(len(array), -1).T]
    return pandas.DataFrame(dict(zip(names, columns, strict=False)))


def given(task: Task, folder: Path) -> Given | None:
    """Return the first estimator of a test whose answers it compares, as a pickle."""
    import joblib

    module, name = _test(task)
    seen = Seen()
    helpers = {
        **dict.fromkeys(("convert_sklearn", "to_onnx", "convert_lightgbm", "convert_xgboost", "convert"), seen.convert),
        "dump_data_and_model": seen.dump,
        **dict.fromkeys(("InferenceSession", "InferenceSessionEx"), seen.session),
    }
    with replaced(Path(task.checkout), HELPERS, helpers):
        outcome(module, name)
    if not seen.complete or seen.model is None or seen.data is None:
        return None
    if _is_booster(seen.model):
        path = folder / ("model.txt" if type(seen.model).__module__.startswith("lightgbm") else "model.json")
        seen.model.save_model(path)
    else:
        path = folder / "model.joblib"
        joblib.dump(seen.model, path)
    inputs = _inputs(seen.data)
    options = {} if _is_booster(seen.model) else {"trust_source": True, **_shape(seen.model, inputs)}
    return Given(f"sklearn:{path}", inputs, lambda _, names: _answers(seen.model, seen.data, names), options)


def _shape(model: Any, inputs: Arrays) -> Mapping[str, Any]:
    """Return the option that an estimator needs which does not say how many columns it takes, as `generate` says."""
    array = inputs.get("input")
    if hasattr(model, "n_features_in_") or hasattr(model, "steps") or array is None or array.dtype.kind not in "fiu":
        return {}
    dtype = "float32" if array.dtype.kind == "f" else array.dtype.name
    return {"input_shape": f"input=1x{array.shape[1]}:{dtype}"}


def _is_booster(model: Any) -> bool:
    """Whether a model is a booster of LightGBM or XGBoost itself, which has a file format of its own."""
    return type(model).__name__ == "Booster"


def _inputs(data: Any) -> Arrays:
    """Return data in the order of a published model's inputs: a matrix, or a column for each of a table."""
    if hasattr(data, "columns"):
        return {str(name): np.asarray(data[name])[:, np.newaxis] for name in data.columns}
    if hasattr(data, "toarray"):
        data = data.toarray()
    array = np.asarray(data)
    return {"input": array[:, np.newaxis] if array.ndim == 1 else array}


def _answers(model: Any, data: Any, names: list[str]) -> Mapping[str, Array]:
    """Return what an estimator itself answers for each output of the published model."""
    return {name: _answer(model, data, name) for name in names}


def _answer(model: Any, data: Any, name: str) -> Array:
    kind, _, number = name.partition("_")
    if hasattr(model, "vocabulary_") or hasattr(model, "build_analyzer"):  # takes a plain list of texts
        data = np.asarray(data).ravel()
    if _is_booster(model):
        return _booster_answer(model, data, kind)
    if kind in ("index", "distance"):
        answer = model.kneighbors(data)[kind == "index"]
    elif kind == "scores":
        answer = (model.decision_function if hasattr(model, "decision_function") else model.transform)(data)
    else:
        answer = getattr(model, METHODS[kind])(data)
    if number.isdigit():
        answer = answer[int(number)]
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    return array[:, np.newaxis] if array.ndim == 1 and kind != "label" else array


def _booster_answer(booster: Any, data: Any, kind: str) -> Array:
    """Return a booster's numbers: of two classes it answers the probability of the second alone."""
    if hasattr(booster, "inplace_predict"):
        import xgboost

        data = xgboost.DMatrix(data, enable_categorical=True)
        margins = np.asarray(booster.predict(data, output_margin=True))
        if margins.ndim > 1 and kind != "prediction":  # multi:softmax predicts the class alone
            exponents = np.exp(margins - margins.max(axis=1, keepdims=True))
            return np.asarray(margins.argmax(axis=1) if kind == "label" else exponents / exponents.sum(axis=1)[:, None])
    found = np.asarray(booster.predict(data))
    if kind == "prediction":
        return found.reshape(len(found), -1)
    found = np.column_stack([1 - found, found]) if found.ndim == 1 else found
    return found.argmax(axis=1) if kind == "label" else found


def by_hand(task: Task, folder: Path) -> str:
    """Run the whole test: it converts the estimator, runs it with ONNX Runtime, and compares the answers."""
    return outcome(*_test(task))


def _test(task: Task) -> tuple[Any, str]:
    path, _, name = task.name.partition(".")
    folder = Path(task.checkout) / "tests"
    module_folder = folder / Path(path).parent
    return module_of(module_folder, Path(path).name), name


SKLEARN = Suite(
    "sklearn-onnx",
    "sklearn-onnx",
    "Estimators and pipelines of scikit-learn, fitted by the test and pickled.",
    ("scikit-learn", "skl2onnx"),
    given,
    by_hand,
)
BOOSTERS = Suite(
    "onnxmltools",
    "onnxmltools",
    "Models of LightGBM and XGBoost, and pipelines with them, fitted by the test and pickled.",
    ("lightgbm", "xgboost", "onnxmltools"),
    given,
    by_hand,
)
