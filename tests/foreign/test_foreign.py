"""Tests of made-up checkouts through the product, and the page of what was found in real ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.foreign import __main__ as command
from tests.foreign import page
from tests.foreign.case import Given, Row, Task
from tests.foreign.page import Cause
from tests.foreign.suites import SUITES, sample
from tests.foreign.trial import tried

CHECKOUT = """
import unittest
import numpy
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

X = numpy.arange(12, dtype=numpy.float32).reshape(6, 2)


class Unheard(BaseEstimator):
    def fit(self, X, y):
        self.n_features_in_ = 2
        return self

    def predict(self, X):
        return X[:, 0]


def dump_data_and_model(data, model, model_onnx):
    raise AssertionError("the test compares the answers itself")


class SmallTest(unittest.TestCase):
    def compared(self, model):
        model.fit(X, X.sum(axis=1))
        dump_data_and_model(X, model, convert_sklearn(model, "m", [("input", FloatTensorType([None, 2]))]))

    def test_regressor(self):
        self.compared(LinearRegression())

    def test_unheard(self):
        model = Unheard().fit(X, None)
        try:
            convert_sklearn(model, "m", [("input", FloatTensorType([None, 2]))])
        except RuntimeError:
            dump_data_and_model(X, model, None)

    def test_nothing(self):
        pass
"""
REFUSED = Row("sklearn-onnx/a", "needless", "the answers differ by 3 times", date="2026-11-30", tools="t", commit="c")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "tests"
    folder.mkdir(parents=True)
    (folder / "test_made_up_for_modelrepo.py").write_text(CHECKOUT)
    return folder.parent


def outcome(checkout: Path, name: str, folder: Path) -> Row:
    return tried(Task("sklearn-onnx", f"test_made_up_for_modelrepo.SmallTest.{name}", str(checkout)), folder)


def test_an_estimator_of_a_test_is_published_and_answers_the_data_of_the_test(checkout: Path, tmp_path: Path) -> None:
    row = outcome(checkout, "test_regressor", tmp_path)
    assert (row.outcome, row.reason) == ("right", "")


def test_what_fails_by_hand_too_is_refused_rightly(checkout: Path, tmp_path: Path) -> None:
    row = outcome(checkout, "test_unheard", tmp_path)
    assert row.outcome == "rightly"
    assert "Unheard" in row.reason
    assert row.by_hand == "AssertionError: the test compares the answers itself"


def test_what_makes_no_model_is_no_case(checkout: Path, tmp_path: Path) -> None:
    assert outcome(checkout, "test_nothing", tmp_path).outcome == "absent"


def test_published_answers_that_differ_are_wrong(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = SUITES["sklearn-onnx"]

    def given(task: Task, folder: Path) -> Given | None:
        found = suite.given(task, folder)
        assert found
        return replace(found, expected=lambda arrays, names: {"prediction": np.full((6, 1), 7.0)})

    monkeypatch.setitem(SUITES, "sklearn-onnx", replace(suite, given=given))
    row = outcome(checkout, "test_regressor", tmp_path)
    assert row.outcome == "wrong"
    assert "instead of np.float64(7.0)" in row.reason


def test_a_run_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def pretend(groups: Sequence[Sequence[Task]], *_: Any) -> Iterator[tuple[Task, Row]]:
        for task in (task for group in groups for task in group):
            if task.name == "b" and "b" not in ran:
                ran.append("b")
                raise KeyboardInterrupt
            ran.append(task.name)
            yield task, Row(task.key, "right")

    monkeypatch.setattr(command, "STATE", tmp_path / "rows.jsonl")
    monkeypatch.setattr(command, "sample", lambda: [("triton", "a"), ("triton", "b"), ("pytorch", "c")])
    monkeypatch.setattr("tests.mutation.processes.run", pretend)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "ROWS", tmp_path / "page.csv")
    arguments = ["--triton", str(tmp_path)]
    assert CliRunner().invoke(command.main, arguments).exit_code == 130
    result = CliRunner().invoke(command.main, arguments)
    assert result.exit_code == 0
    assert ran == ["a", "b", "b"], "nothing is run twice, and pytorch's checkout is not named"
    assert "triton: 2 right" in result.output
    assert not page.PAGE.exists(), "a part is no page"


def test_a_verdict_of_a_person_counts_more_than_the_run() -> None:
    known = (Cause("rightly", "No converter knows it.", message="differ by"), Cause("needless", "Any.", cases="/a$"))
    assert page.judged([REFUSED], known) == [(REFUSED, "rightly", "No converter knows it.")]
    assert page.judged([REFUSED], known[1:]) == [(REFUSED, "needless", "Any.")]
    assert page.judged([replace(REFUSED, outcome="right")], known)[0][1] == "right"
    text = page.page({REFUSED.key: REFUSED}, known, 3)
    assert "2 of 3 were not run." in text
    assert "| sklearn-onnx | 1 | 0 | 0 | 1 | 0 | 0 | 0 |" in text
    assert "- No converter knows it. (1): `sklearn-onnx/a`" in text


def test_the_page_that_is_kept_is_made_from_the_csv_file_and_explains_every_refusal() -> None:
    rows = page.read(page.ROWS)
    assert set(rows) <= {f"{suite}/{name}" for suite, name in sample()}
    assert page.table(rows.values()) == page.ROWS.read_text("utf-8")
    assert page.page(rows, page.causes(), len(sample())) == page.PAGE.read_text("utf-8")
    assert page.NOT_EXPLAINED not in page.PAGE.read_text("utf-8")


def test_the_sample_names_each_case_once_and_only_suites_that_there_are() -> None:
    cases = sample()
    assert len(cases) == len(set(cases))
    assert {suite for suite, _ in cases} == set(SUITES)
