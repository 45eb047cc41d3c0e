"""What rounding exchanges is compared by the numbers beside it, and nothing else is forgiven."""

import numpy as np
import pytest

from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification.exchanged import ranked, settled

LIMIT = 0.01


def listed(scores: list[float], classes: list[int], boxes: list[float] | None = None) -> dict[str, Array]:
    more = {} if boxes is None else {"boxes": np.array(boxes, np.float32)}
    labels = np.array([f"class {number}" for number in classes], object)
    return {"scores": np.array(scores, np.float32), "classes": np.array(classes), "labels": labels, **more}


def classes_after(wanted: dict[str, Array], got: dict[str, Array], *, edge: bool = False) -> list[int]:
    found = settled(wanted, got, lambda name, array: LIMIT, edge=edge)
    assert found["labels"].tolist() == [f"class {number}" for number in found["classes"]]
    classes: list[int] = found["classes"].tolist()
    return classes


def test_classes_with_nearly_equal_scores_change_places() -> None:
    assert classes_after(listed([0.5, 0.3, 0.295], [4, 1, 2]), listed([0.5, 0.3, 0.295], [4, 2, 1])) == [4, 1, 2]


def test_classes_with_different_scores_stay_where_they_are() -> None:
    assert classes_after(listed([0.5, 0.3, 0.2], [4, 1, 2]), listed([0.5, 0.3, 0.2], [4, 2, 1])) == [4, 2, 1]


@pytest.mark.parametrize(("edge", "wanted"), [(False, [4, 1, 3]), (True, [4, 1, 2])])
def test_the_last_class_may_be_another_one_only_where_that_is_allowed(edge: bool, wanted: list[int]) -> None:
    ours, theirs = listed([0.5, 0.3, 0.2], [4, 1, 2]), listed([0.5, 0.3, 0.199], [4, 1, 3])
    assert classes_after(ours, theirs, edge=edge) == wanted


def test_another_class_before_the_last_is_never_forgiven() -> None:
    ours, theirs = listed([0.5, 0.3, 0.2], [4, 1, 2]), listed([0.5, 0.3, 0.2], [4, 7, 2])
    assert classes_after(ours, theirs, edge=True) == [4, 7, 2]


def test_boxes_of_one_class_with_nearly_equal_scores_change_places_with_them() -> None:
    ours = listed([0.5, 0.495], [1, 1], [10.0, 20.0])
    found = settled(ours, listed([0.5, 0.495], [1, 1], [20.0, 10.0]), lambda name, array: LIMIT, edge=False)
    assert found["boxes"].tolist() == [10, 20]


@pytest.mark.parametrize(("scores", "count"), [([0.5, 0.301, 0.1], 2), ([0.5, 0.4, 0.1], 1)])
def test_a_count_may_differ_where_a_score_is_close_to_the_threshold(scores: list[float], count: int) -> None:
    ours: dict[str, Array] = {**listed(scores, [1, 2, 3]), "count": np.array([2])}
    close = [0.5, 0.299, 0.1] if count == 2 else [0.5, 0.2, 0.1]
    theirs: dict[str, Array] = {**listed(close, [1, 2, 3]), "count": np.array([1])}
    assert settled(ours, theirs, lambda name, array: LIMIT, edge=False)["count"].tolist() == [count]


def test_a_place_of_a_map_may_have_another_class_where_no_class_is_ahead() -> None:
    ours: dict[str, Array] = {"class_map": np.array([[1, 2]], np.uint8), "margin": np.array([[0.001, 0.5]], np.float32)}
    theirs: dict[str, Array] = {
        "class_map": np.array([[3, 4]], np.uint8),
        "margin": np.array([[0.002, 0.5]], np.float32),
    }
    assert settled(ours, theirs, lambda name, array: LIMIT, edge=False)["class_map"].tolist() == [[1, 4]]


def test_scores_in_another_order_are_no_list() -> None:
    assert not ranked(listed([0.1, 0.2], [1, 2]))
    assert ranked(listed([0.2, 0.1], [1, 2]))
