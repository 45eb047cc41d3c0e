"""Labels as users write them: numbers, names, one-hot rows, and the classes that a label output answers."""

from typing import Any

import numpy as np
import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.verification import labelled
from modelrepo.generator.verification.labelled import Classes, Unusable, classes_of

X = TensorSpec("x", "float32", ("batch", 4))
SCORES, ONE = TensorSpec("y", "float32", ("batch", 3)), TensorSpec("y", "float32", ("batch", 1))
ANSWER, TEXT = TensorSpec("label", "int64", ("batch",)), TensorSpec("label", "object", ("batch",))
NAMES = ("tabby cat", "beagle", "goldfish")


def model(*outputs: TensorSpec, names: tuple[str, ...] = (), own: tuple[str, ...] = ()) -> Classes:
    return classes_of(Signature((X,), outputs), names, own)


def numbers(found: Any, classes: Classes) -> list[int]:
    array = np.asarray(found)
    each = labelled.one_each(array, len(array), classes, "s.npz: y")
    return [int(number) for number in labelled.numbered(each, classes, "s.npz: y")[0]]


@pytest.mark.parametrize(
    "found",
    [
        [2, 0, 1],
        np.array([2, 0, 1], "uint8"),
        [2.0, 0.0, 1.0],
        [[2], [0], [1]],
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        np.eye(3, dtype="float32")[[2, 0, 1]],
        ["goldfish", "tabby cat", "beagle"],
        [b"goldfish", b"Tabby_Cat", b"BEAGLE"],
        np.array(["goldfish", "tabby cat", "beagle"], object),
        ["2", "0", "1"],
    ],
    ids=[
        "integers",
        "bytes",
        "whole floats",
        "column",
        "one-hot",
        "one-hot floats",
        "names",
        "raw",
        "objects",
        "digits",
    ],
)
def test_labels_are_read_in_each_usual_form(found: Any) -> None:
    assert numbers(found, model(SCORES, names=NAMES)) == [2, 0, 1]


def test_labels_are_what_the_source_calls_its_classes_before_they_are_numbers() -> None:
    assert numbers([7, 3, 9], model(ANSWER, SCORES, names=("3", "7", "9"))) == [1, 0, 2]
    assert numbers([2, 1, 3], model(ANSWER, SCORES, names=("1", "2", "3"))) == [1, 0, 2]
    assert numbers([2, 1, 0], model(ANSWER, SCORES, names=("1", "2", "3"))) == [2, 1, 0]  # 0 is not a name
    assert numbers([True, False], model(ANSWER, ONE, names=("False", "True"))) == [1, 0]
    assert numbers([1.0, 0.0], model(ANSWER, ONE, names=("0.0", "1.0"))) == [1, 0]


def test_labels_may_have_the_users_names_or_the_sources_own() -> None:
    renamed = model(ANSWER, SCORES, names=NAMES, own=("3", "7", "9"))
    assert numbers([7, 3, 9], renamed) == [1, 0, 2]
    assert numbers(["beagle", "tabby cat"], renamed) == [1, 0]
    assert renamed.called == ("3", "7", "9")


@pytest.mark.parametrize(
    ("outputs", "found", "called"),
    [
        ((TEXT, SCORES), ["owl", "cat", "owl"], ("cat", "owl")),
        ((ANSWER, SCORES), [9, 3, 9], ("3", "9")),
        ((ANSWER,), [-1, 1, -1], ("-1", "1")),
    ],
)
def test_labels_of_a_model_that_answers_classes_without_naming_them_are_its_answers(
    outputs: tuple[TensorSpec, ...], found: list[Any], called: tuple[str, ...]
) -> None:
    classes = model(*outputs)
    places, answered = labelled.numbered(np.asarray(found), classes, "s.npz: y")
    assert (tuple(answered[place] for place in places), answered) == (tuple(map(str, found)), called)


def test_one_number_a_sample_tells_two_classes() -> None:
    assert numbers([True, False], model(ONE)) == [1, 0]
    assert numbers([[1], [0]], model(TensorSpec("y", "float32", ("batch",)))) == [1, 0]
    for found in ([5, 7], [0.5, 1.0], ["a", "b"]):
        with pytest.raises(Unusable, match="one number a sample"):
            numbers(found, model(ONE))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([0, 3, 1], "contains 3, which is not a class of the model: it has 3, counted from 0"),
        ([1, 2, 3], "The labels seem to be counted from 1: subtract 1"),
        ([0, -1, 1], "contains -1"),
        ([0.5, 1, 2], "contains 0.5: expected the number of a class from 0 on, or its name"),
        ([np.nan, 1, 2], "contains NaN. Leave out the samples without a label"),
        (["beagel", "goldfish", "goldfish"], "contains 'beagel', .* Did you mean beagle?"),
        (np.zeros((3, 2, 2), int), r"is int64\[3, 2, 2\]: expected 3 labels, one per sample"),
    ],
)
def test_labels_that_are_not_classes_of_the_model_are_refused(found: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as raised:
        numbers(found, model(SCORES, names=NAMES))
    assert str(raised.value).startswith("s.npz: y ")


def test_another_number_of_labels_than_samples_is_refused() -> None:
    with pytest.raises(OptionError, match="expected 5 labels, one per sample"):
        labelled.one_each(np.array([0, 1]), 5, model(SCORES), "s.npz: y")


@pytest.mark.parametrize(
    ("outputs", "found", "reason"),
    [
        ((TensorSpec("mask", "float32", ("batch", 2, 8, 8)),), [0, 1], "no output has a class, or a score for each"),
        ((SCORES,), ["cat", "dog"], "--labels FILE names them"),
        ((SCORES,), np.full((2, 3), 0.3), "they are values, and not classes"),
        ((SCORES,), [[1, 1, 0], [0, 0, 0]], "some samples have several classes, or none"),
    ],
)
def test_labels_that_may_mean_something_else_are_not_used(
    outputs: tuple[TensorSpec, ...], found: Any, reason: str
) -> None:
    with pytest.raises(Unusable, match=reason):
        numbers(found, model(*outputs))


def test_the_classes_of_a_model_without_batches_are_its_only_axis() -> None:
    alone = Signature((TensorSpec("x", "float32", (4,)),), (TensorSpec("y", "float32", (1, 5)),))
    assert (classes_of(alone).count, classes_of(alone).ranked) == (5, True)


def test_the_scores_of_a_quantized_model_have_8_bits() -> None:
    assert model(TensorSpec("y", "uint8", ("batch", 5))).count == 5


def test_a_name_of_two_classes_is_refused_unless_it_is_written_exactly() -> None:
    assert labelled.named("A", ("a", "A"), "s") == 1
    with pytest.raises(OptionError, match="the classes 0 and 2 are both named 'crane'"):
        labelled.named("crane", ("crane", "owl", "crane"), "s")


@pytest.mark.parametrize(
    ("label", "names", "message"),
    [("", ("cat", "dog"), "y is missing for some samples"), ("cat", ("0", "1"), "--labels FILE gives them names")],
)
def test_a_label_that_is_no_class_gets_the_next_step(label: str, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        labelled.numbered(np.array([label]), labelled.Classes(names, count=2, ranked=True), "y")
