"""The accuracy of a converted model on labelled samples, and the doubts about these."""

from collections.abc import Sequence

import numpy as np
import pytest

from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.verification import accuracy
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool

X = TensorSpec("x", "float32", ("batch", 3))
Y = TensorSpec("y", "float32", ("batch", 3))
SIGNATURE = Signature((X,), (Y,))


def data(labels: Sequence[int], classes: tuple[str, ...] = ()) -> Dataset:
    """Return samples whose largest element is their number modulo 3."""
    rows = np.eye(3, dtype="float32")[np.arange(len(labels)) % 3]
    names = tuple(f"sample {row}" for row in range(len(labels)))
    return Dataset((Pool({"x": rows}, names),), (np.array(labels, np.int64),), (), classes)


def same(arrays: Arrays) -> dict[str, Array]:
    return {"y": arrays["x"]}


def constant(arrays: Arrays) -> dict[str, Array]:
    return {"y": np.tile(np.array([1, 0, 0], "float32"), (len(arrays["x"]), 1))}


def test_all_samples_are_measured_for_the_source_and_the_converted_model() -> None:
    labels = [number % 3 for number in range(60)]
    labels[:6] = [(each + 1) % 3 for each in labels[:6]]
    reached, notes = accuracy.of_labels(same, constant, data(labels), SIGNATURE, batch=16)
    assert reached is not None
    assert (reached.samples, reached.source, reached.value, notes) == (60, 0.9, 1 / 3, ())


def test_labels_in_another_order_are_doubted() -> None:
    labels = [(number + 1) % 3 for number in range(60)]
    _, (note,) = accuracy.of_labels(same, same, data(labels), SIGNATURE, batch=16)
    assert note.startswith("the source predicts 0.0% of 60 labels, no better than guessing: are the samples prepared")


def test_samples_that_all_get_the_same_class_are_doubted() -> None:
    labels = [0] * 50 + [1] * 10
    _, (note,) = accuracy.of_labels(constant, constant, data(labels), SIGNATURE, batch=16)
    assert note.startswith("the source predicts the same class for all 60 samples, whose labels name 2: are the")


@pytest.mark.parametrize("labels", [[0] * 60, [2] * 8])
def test_samples_of_one_class_and_few_samples_are_not_doubted(labels: list[int]) -> None:
    assert accuracy.of_labels(constant, constant, data(labels), SIGNATURE, batch=16)[1] == ()


def test_an_output_that_answers_the_class_counts_before_the_scores() -> None:
    """The classes of an SVC are not those of the largest probability."""

    def svc(arrays: Arrays) -> dict[str, Array]:
        return {"probabilities": 1 - arrays["x"], "label": np.array([7, 3, 9])[arrays["x"].argmax(axis=1)]}

    labels = [1 if number % 3 == 0 else 0 if number % 3 == 1 else 2 for number in range(60)]
    reached, notes = accuracy.of_labels(svc, svc, data(labels, ("3", "7", "9")), SIGNATURE, batch=16, classes=3)
    assert reached is not None
    assert (reached.source, notes) == (1.0, ())


def test_a_whole_number_beside_scores_is_not_a_class_unless_classes_have_names() -> None:
    def counting(arrays: Arrays) -> dict[str, Array]:
        return {"count": np.full(len(arrays["x"]), 2), "y": arrays["x"]}

    labels = [number % 3 for number in range(60)]
    reached, _ = accuracy.of_labels(counting, counting, data(labels), SIGNATURE, batch=16)
    assert reached is not None
    assert reached.source == 1.0


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (-0.2, 3.0)], ids=["probability", "score"])
def test_one_number_a_sample_tells_the_second_class_from_a_half_or_from_zero(low: float, high: float) -> None:
    def two(arrays: Arrays) -> dict[str, Array]:
        return {"y": np.where(arrays["x"][:, :1] > 0, high, low).astype("float32")}

    labels = [int(number % 3 == 0) for number in range(60)]
    reached, _ = accuracy.of_labels(two, two, data(labels), SIGNATURE, batch=16)
    assert reached is not None
    assert reached.source == 1.0


def test_scores_may_have_axes_of_one() -> None:
    def convolutional(arrays: Arrays) -> dict[str, Array]:
        return {"y": arrays["x"][:, :, np.newaxis, np.newaxis]}

    labels = [number % 3 for number in range(60)]
    reached, _ = accuracy.of_labels(convolutional, convolutional, data(labels), SIGNATURE, batch=16)
    assert reached is not None
    assert reached.source == 1.0


def test_labels_of_a_model_that_predicts_no_class_get_a_note() -> None:
    def boxes(arrays: Arrays) -> dict[str, Array]:
        return {"y": np.zeros((len(arrays["x"]), 5, 4), "float32")}

    assert accuracy.of_labels(boxes, boxes, data([0] * 60), SIGNATURE, batch=16) == (None, (accuracy.UNUSED,))
