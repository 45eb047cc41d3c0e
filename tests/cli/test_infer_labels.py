"""Which output labels are compared with, and how they are counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modelrepo.cli.terminal.infer_labels import Judge, Labels, judged_output, make_judge
from modelrepo.clients.models import Answer, Model, Tensor
from modelrepo.generator.errors import OptionError

LABEL, NUMBER = Tensor("label", "BYTES", (-1, 1)), Tensor("label", "INT64", (-1, 1))
NAMED = Tensor("probabilities", "FP32", (-1, 2), labels=True)
SCORES, VALUE = Tensor("scores", "FP32", (-1, 3)), Tensor("value", "FP32", (-1, 1))
RIGHT = np.eye(3, dtype="float32")


def model(*outputs: Tensor) -> Model:
    return Model("m", ("1",), "", 8, (), outputs)


def judge(
    outputs: Sequence[Tensor], cells: Any, names: Sequence[str] = (), top: int | None = None
) -> tuple[Judge, Labels]:
    judged = judged_output(model(*outputs))
    labels = Labels(judged.how == "value")
    labels.add(cells, lambda row: f"row {row + 1}: the label")
    return make_judge(judged, labels, names, top, "m"), labels


def result(
    outputs: Sequence[Tensor], cells: Any, answer: Answer, names: Sequence[str] = (), top: int | None = None
) -> Any:
    judging, labels = judge(outputs, cells, names, top)
    judging.add(answer, labels.values)
    return judging.document()


def texts(*values: str) -> Any:
    return np.array([[value.encode()] for value in values], object)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ((LABEL, NAMED), "label"),
        ((NAMED, SCORES), "probabilities"),
        ((SCORES,), "scores"),
        ((VALUE,), "value"),
        ((SCORES, VALUE), "scores"),
    ],
)
def test_labels_are_compared_with_the_output_that_means_a_class(outputs: Sequence[Tensor], expected: str) -> None:
    assert judged_output(model(*outputs)).tensor.name == expected


@pytest.mark.parametrize(
    "outputs", [(SCORES, Tensor("more", "FP32", (-1, 3))), (Tensor("map", "FP32", (-1, 3, 8, 8)),)]
)
def test_outputs_that_mean_no_class_are_refused(outputs: Sequence[Tensor]) -> None:
    with pytest.raises(OptionError, match="can't compare labels with the outputs of m"):
        judged_output(model(*outputs))


def test_a_label_output_is_compared_as_it_is() -> None:
    answer = {"label": texts("a", "b"), "probabilities": RIGHT[:2, :2]}
    assert result((LABEL, NAMED), ["a", "a"], answer, "ab")["accuracy"]["top1"] == 0.5
    assert result((LABEL,), ["a", "a"], answer)["accuracy"]["top1"] == 0.5
    whole = {"label": np.array([[5], [7]])}
    for cells in (["5", "5"], np.array([5.0, 5.0]), np.array([5, 5]), ["5.0", " 5"]):
        assert result((NUMBER,), cells, whole)["accuracy"]["top1"] == 0.5


def test_names_of_classes_that_are_answered_as_numbers_are_found_by_the_scores() -> None:
    answer = {"label": np.array([[5], [7]]), "probabilities": RIGHT[:2, :2]}
    found = result((NUMBER, NAMED), ["five", "five"], answer, ("five", "seven"))["accuracy"]
    assert (found["output"], found["top1"]) == ("probabilities", 0.5)


def test_numbers_are_names_if_all_classes_have_such_names() -> None:
    answer = {"probabilities": RIGHT[:2, :2]}
    assert result((NAMED,), ["7", "5"], answer, ("7", "5"))["accuracy"]["top1"] == 1.0
    assert result((NAMED,), ["0", "1"], answer, ("cat", "dog"))["accuracy"]["top1"] == 1.0


def test_numbers_of_classes_with_names_are_places_from_0_on() -> None:
    answer = {"label": texts("cat", "dog"), "probabilities": RIGHT[:2, :2]}
    for outputs in ((LABEL, NAMED), (LABEL, Tensor("score", "FP32", (-1, 2), labels=True))):
        for cells in (["0", "1"], ["0.0", "1.0"], np.array([0, 1])):
            only = {"label": answer["label"], outputs[1].name: answer["probabilities"]}
            assert result(outputs, cells, only, ("cat", "dog"))["accuracy"]["top1"] == 1.0
    assert result((LABEL,), [1, 0], answer, ("dog", "cat"))["accuracy"]["top1"] == 1.0
    whole = {"label": np.array([[5], [7]]), "probabilities": RIGHT[:2, :2]}
    assert result((NUMBER, NAMED), [0, 1], whole, ("5", "7"))["accuracy"]["top1"] == 1.0


def test_whole_numbers_that_an_output_answers_are_not_places() -> None:
    whole = {"label": np.array([[1], [1]]), "probabilities": RIGHT[:2, :2]}
    assert result((NUMBER, NAMED), [1, 1], whole, ("five", "seven"))["accuracy"]["top1"] == 1.0


def test_numbers_as_names_are_equal_by_value() -> None:
    answer = {"label": texts("1", "0"), "probabilities": RIGHT[:2, :2]}
    for outputs in ((NAMED,), (LABEL, NAMED)):
        assert result(outputs, ["1.0", "0.0"], answer, ("1", "0"))["accuracy"]["top1"] == 1.0


def test_an_answer_of_nan_is_wrong() -> None:
    scores = np.array([[np.nan, np.nan, np.nan], [np.nan, 0, -1]], "float32")
    found = result((SCORES,), [0, 1], {"scores": scores}, top=1)["accuracy"]
    assert found["classes"] == [{"label": 0, "count": 1, "right": 0}, {"label": 1, "count": 1, "right": 1}]


def test_probabilities_of_the_second_class_have_an_accuracy_and_numbers_an_error() -> None:
    answer = {"value": np.array([[0.9], [0.2], [0.6]], "float32")}
    assert result((VALUE,), [1, 0, 0], answer)["accuracy"]["top1"] == pytest.approx(2 / 3)
    found = result((VALUE,), ["1", "0", "2"], answer)["regression"]
    assert found["mean_absolute_error"] == pytest.approx((0.1 + 0.2 + 1.4) / 3)
    assert found["r2"] == pytest.approx(1 - (0.01 + 0.04 + 1.96) / 2, abs=1e-6)


def test_the_spread_of_labels_is_joined_over_parts() -> None:
    judging, _ = judge((VALUE,), [1.0])
    labels = np.random.default_rng(0).normal(1e6, 1, 1000)
    for part in np.array_split(labels, 7):
        judging.add({"value": part[:, None] + 0.5}, part)
    assert judging.document()["regression"]["r2"] == pytest.approx(1 - 250 / (labels.var() * 1000))


def test_labels_that_are_never_answered_are_shown_beside_the_answers() -> None:
    judging, labels = judge((LABEL,), ["A", "B"])
    judging.add({"label": texts("a", "b")}, labels.values)
    assert judging.text().startswith("accuracy 0.0% of 2 rows: the labels are A, B, and the model answers ")


@pytest.mark.parametrize(
    ("outputs", "cells", "names", "message"),
    [
        ((SCORES,), ["0", "3"], (), "row 2: the label is '3', which is not a class of m: it has 3, counted from 0"),
        ((SCORES,), ["0", "cat"], (), "row 2: the label is 'cat', but m has no names for its classes"),
        ((NAMED,), ["dgo"], ("cat", "dog"), "which is not a class of m. Did you mean dog?"),
        ((NAMED,), ["a b"], ("A_b", "a_B"), "the name of 2 classes of m"),
        ((NUMBER,), ["cat"], (), "m answers whole numbers"),
        ((LABEL,), ["a", None], (), "row 2: the label is missing"),
        ((LABEL,), np.array(["a", ""]), (), "row 2: the label is missing"),
        ((SCORES,), np.array([0, np.nan]), (), "row 2: the label is missing"),
        ((SCORES,), np.zeros((2, 3)), (), "the labels have the shape [2, 3]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    outputs: Sequence[Tensor], cells: Any, names: Sequence[str], message: str
) -> None:
    with pytest.raises(OptionError) as refused:
        judge(outputs, cells, names)
    assert message in str(refused.value)
