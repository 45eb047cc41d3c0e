"""Exports of fitted estimators in process, and their answers next to those of the estimator."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime

from modelrepo.generator.export.sklearn import export
from modelrepo.generator.options.resolve import default_options
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import sklearn as source
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import InputShape

NAN = float("nan")
TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(string)": "object"}


def loaded(model: Any, *shapes: InputShape) -> SourceModel:
    """Return a fitted estimator, or the file of one, as a source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.joblib"
        if isinstance(model, Path):
            path = model
        else:
            joblib.dump(model, path)
        options = replace(default_options(f"sklearn:{path}"), trust_source=True, input_shape=shapes)
        return source.load(str(path), options, Progress())


def answers(model: Any, columns: Any, *shapes: InputShape) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the estimator and its exported model answer, for one matrix or for arrays by input."""
    own = loaded(model, *shapes)
    with tempfile.TemporaryDirectory() as folder:
        options = replace(default_options("sklearn:model.joblib"), trust_source=True, input_shape=shapes)
        path = export(own, Path(folder) / "out", options).path
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given: Mapping[str, Any] = columns if isinstance(columns, dict) else {own.inputs[0].name: columns}
    kinds = {value.name: TYPES[value.type] for value in session.get_inputs()}
    arrays = {spec.name: np.asarray(given[spec.name]).astype(kinds[spec.name]) for spec in own.inputs}
    names = [value.name for value in session.get_outputs()]
    return dict(own.run(arrays)), dict(zip(names, session.run(None, arrays), strict=True))


def check(model: Any, columns: Any, *shapes: InputShape, within: float = 1e-5) -> None:
    """Assert that the exported model answers as the estimator, also NaN."""
    expected, served = answers(model, columns, *shapes)
    for name, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(served[name], value, rtol=within, atol=within, err_msg=name)
        else:
            assert served[name].tolist() == value.tolist(), name


def around(*limits: float) -> Any:
    """Return float32 numbers at each limit and right below and above it."""
    at = np.array(limits, np.float64).astype(np.float32)
    return np.concatenate([at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))])
