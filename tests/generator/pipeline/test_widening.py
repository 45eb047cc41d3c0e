"""The types of inputs: FP64 if a pipeline answers rounded decimals differently, as its own ``predict`` shows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pandas
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBRegressor

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.export.sklearn import TO_ONNX
from modelrepo.generator.options.resolve import default_options
from modelrepo.generator.pipeline import widening
from modelrepo.generator.specs.artifacts import ONNX
from modelrepo.generator.verification import digits
from tests.conftest import Generate
from tests.generator.export.sklearn.serving import loaded

RANDOM = np.random.default_rng(0)
AREA = RANDOM.normal(80, 25, 600).round(1)
HOUSES = pandas.DataFrame({"area": AREA, "rooms": RANDOM.integers(1, 7, 600), "city": RANDOM.choice(["A", "B"], 600)})
PRICE = 1000 + 3 * AREA + 10 * HOUSES.rooms + RANDOM.normal(0, 1, 600)
TRAINED, TESTED = HOUSES[:400], HOUSES[400:]
NUMBERS = ["area", "rooms"]
QUICK = ("--live-check", "off", "--client-dir", "none", "--verify-effort", "quick", "-q")
OPTIONS = default_options("sklearn:model.joblib")

pytestmark = pytest.mark.usefixtures("workdir")


def pipeline(last: Any, target: Any = PRICE) -> Any:
    columns = ColumnTransformer([("numbers", StandardScaler(), NUMBERS), ("texts", OneHotEncoder(), ["city"])])
    return make_pipeline(columns, last).fit(TRAINED, target[:400])


def tree() -> Any:
    return pipeline(DecisionTreeRegressor(random_state=0, max_leaf_nodes=100))


def differing(model: Any) -> int:
    """Return how many of the tested rows get another prediction if their numbers are rounded to float32."""
    rounded = TESTED.assign(area=TESTED.area.astype("float32").astype("float64"))
    wanted = model.predict(TESTED)
    return int((np.abs(model.predict(rounded) - wanted) > 1e-3 * np.abs(wanted)).sum())


def published(generate: Generate, model: Any, *arguments: str) -> tuple[Any, list[str]]:
    """Publish a model; return what it answers to the tested rows in its own types, and the notes."""
    joblib.dump(model, "model.joblib")
    outcome = generate("--model", "model.joblib", "--trust-source", "--json", *QUICK, *arguments)
    assert outcome.code == 0, outcome.err
    session = onnxruntime.InferenceSession(str(Path(outcome.result["path"]) / "model.onnx"))
    kinds = {
        "tensor(float)": "float32",
        "tensor(double)": "float64",
        "tensor(int64)": "int64",
        "tensor(string)": object,
    }
    given = {
        each.name: TESTED[each.name].to_numpy()[:, np.newaxis].astype(kinds[each.type]) for each in session.get_inputs()
    }
    return session.run(None, given)[0], outcome.result["notes"]


def test_a_tree_behind_a_scaler_answers_decimals_as_predict_does(generate: Generate) -> None:
    model = tree()
    assert differing(model)
    answers, notes = published(generate, model)
    np.testing.assert_allclose(answers.ravel(), model.predict(TESTED), rtol=1e-6)
    (note,) = [each for each in notes if "FP64" in each]
    assert re.fullmatch(
        r"its inputs are FP64, because in FP32 inputs lose digits: \d+ of 2048 generated rows with decimals get "
        r"another answer \(worst \d+\.\d%\); "
        r"--input-shape 'area=1x1:float32,rooms=1x1:float32' serves FP32 all the same",
        note,
    )


def test_types_that_the_user_gives_stay_and_a_warning_has_the_option_that_keeps_all_digits(generate: Generate) -> None:
    model = tree()
    TESTED.to_csv("test.csv", index=False)
    asked = ("--samples", "test.csv", "--input-shape")
    answers, notes = published(generate, model, *asked, "area=1x1:float32")
    assert (np.abs(answers.ravel() / model.predict(TESTED) - 1) > 1e-3).sum() == differing(model)
    (note,) = [each for each in notes if "lose digits" in each]
    assert note.startswith(f"in FP32 inputs lose digits: {differing(model)} of 200 samples get another answer")
    option = re.search(r"--input-shape '(.*)' keeps them$", note)
    assert option is not None
    answers, notes = published(generate, model, *asked, option[1])
    np.testing.assert_allclose(answers.ravel(), model.predict(TESTED), rtol=1e-6)
    assert not [each for each in notes if "digits" in each]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_samples_are_asked_with_all_their_digits_from_every_kind_of_file(suffix: str) -> None:
    file = Path(f"test.{suffix}")
    if suffix == "csv":
        TESTED.to_csv(file, index=False)
    elif suffix == "parquet":
        TESTED.to_parquet(file, index=False)
    else:
        texts = TESTED.city.to_numpy().astype(str)[:, np.newaxis]
        np.savez(file, city=texts, **{name: TESTED[[name]].to_numpy() for name in NUMBERS})
    chosen = widening.chosen(loaded(tree()), replace(OPTIONS, samples=file))
    assert f": {differing(tree())} of 200 samples get another answer" in chosen.source.notes[-1]


def test_the_report_says_of_samples_what_rounding_them_does(generate: Generate) -> None:
    TESTED.to_csv("test.csv", index=False)
    joblib.dump(pipeline(LinearRegression()), "model.joblib")
    outcome = generate("--model", "model.joblib", "--trust-source", "--samples", "test.csv", "--json", *QUICK)
    said = outcome.result["verification"]["samples"]
    assert said.endswith("64 compared number by number; unrounded, none of 200 samples gets another answer")


def test_models_that_answer_rounded_decimals_alike_keep_float32() -> None:
    rows = np.column_stack([AREA, HOUSES.rooms])
    for model in (LinearRegression(), DecisionTreeRegressor(), XGBRegressor(n_estimators=5)):  # which round themselves
        source = loaded(model.fit(rows[:400], PRICE[:400]))
        assert widening.chosen(source, OPTIONS).source is source


def test_whole_numbers_behind_a_scaler_keep_float32() -> None:
    rows = HOUSES[["rooms"]].to_numpy() * 7
    source = loaded(make_pipeline(StandardScaler(), DecisionTreeRegressor()).fit(rows, PRICE))
    assert widening.chosen(source, OPTIONS).source is source


def test_a_class_that_changes_is_counted() -> None:
    source = loaded(pipeline(DecisionTreeClassifier(random_state=0), AREA // 0.7 % 2))
    chosen = widening.chosen(source, OPTIONS)
    assert "of another class" in chosen.source.notes[-1]
    assert [spec.dtype for spec in chosen.source.inputs] == ["float64", "float64", "object"]


def test_rows_that_rounding_changes_are_compared_with_the_converted_model() -> None:
    chosen = widening.chosen(loaded(tree()), OPTIONS)
    (pool,) = chosen.asked
    assert 0 < len(pool.families) <= digits.KEPT
    assert pool.arrays["area"].dtype == np.float64


@pytest.mark.parametrize("fault", ["no converter takes it", "output 'prediction' differs by"])
def test_a_model_without_a_proof_in_float64_is_served_in_float32_with_the_reason(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def export(source: Any, folder: Path, options: Any) -> Any:
        precise = any(spec.dtype == "float64" for spec in source.inputs)
        if precise and fault.startswith("no"):
            raise ConversionError(fault)
        other = replace(source.native, estimator=pipeline(LinearRegression()))
        return TO_ONNX.export(replace(source, native=other) if precise else source, folder, options)

    monkeypatch.setitem(EXPORTERS, ("sklearn", ONNX), replace(TO_ONNX, export=export))
    answers, notes = published(generate, tree())
    assert answers.dtype == np.float32
    (note,) = [each for each in notes if "lose digits" in each]
    assert f"; in FP64, {fault}" in note
