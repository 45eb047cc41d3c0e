"""The text of parameters is read as the C++ backends read it."""

import pytest

from modelrepo.generator.triton.parameters import boolean, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), (" 4", 4), ("+4", 4), ("-1", -1), ("4 threads", 4), ("4.7", 4), ("", None), ("four", None)],
)
def test_a_whole_number_is_what_a_text_begins_with(text: str, value: int | None) -> None:
    assert whole(text) == value


def test_a_number_that_an_int_can_not_hold_is_refused() -> None:
    assert whole(str(2**31 - 1)) == 2**31 - 1
    assert whole(str(2**31)) is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("ON", True), ("1", True), ("Off", False), ("yes", None), ("", None)]
)
def test_a_truth_value_is_one_of_six_words(text: str, value: bool | None) -> None:
    assert boolean(text) is value
