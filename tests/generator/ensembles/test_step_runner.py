"""A function of the user's is called as its annotations say, and every fault of it is one line that names the step."""

import signal
import threading
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.ensembles.step_runner import Step, StepError

MODULE = "tests.generator.ensembles.step_modules"


def step(name: str, *, batched: bool = False, timeout: float = 0.0, **arguments: Any) -> Step:
    return Step(name, f"{MODULE}:{name}", batched=batched, timeout=timeout, arguments=arguments)


def asked(*faults: str | bytes) -> dict[str, Any]:
    rows = len(faults)
    return {
        "x": np.arange(3 * rows, dtype=np.float32).reshape(rows, 3),
        "fault": np.array([[fault] for fault in faults], np.object_),
        "by": np.full((rows, 1), 2.0),
    }


def test_annotations_say_what_a_step_takes_and_returns() -> None:
    made = step("scored")
    assert [(each.name, each.text) for each in made.inputs] == [
        ("x", "float32[n]"),
        ("fault", "string[]"),
        ("by", "float64[]"),
    ]
    assert [(each.name, each.text) for each in made.outputs] == [("scores", "float32[n]"), ("text", "string[]")]


def test_each_sample_is_a_call_and_single_values_are_vectors_of_one_element() -> None:
    answer = step("scored").answer(asked("a", b"b"), batching=True)
    assert np.array_equal(answer["scores"], np.array([[0, 2, 4], [6, 8, 10]], np.float32))
    assert answer["text"].tolist() == [["éa".encode()], ["éb".encode()]]


def test_arguments_with_a_default_are_no_inputs_but_settings() -> None:
    answer = step("scored", offset=1.0).answer(asked("a"), batching=True)
    assert answer["scores"].tolist() == [[1, 3, 5]]
    with pytest.raises(StepError, match="the function has no argument 'offst'; it has x, fault, by, offset"):
        step("scored", offst=1.0)


def test_bytes_keep_zeros_at_their_end() -> None:
    request = {
        "data": np.array([[b"\xff\0\0"]], np.object_),
        "words": np.array([["a", "é"]], np.object_),
        "flag": np.array([[True]]),
        "count": np.array([[3]]),
    }
    answer = step("raw").answer(request, batching=True)
    assert [array.tolist() for array in answer.values()] == [
        [[b"\xff\0\0"]],
        [["é".encode(), b"a"]],
        [[False]],
        [[4]],
    ]


def test_without_batching_a_request_is_one_sample() -> None:
    request = {name: array[0] for name, array in asked("a").items()}
    answer = step("scored").answer(request, batching=False)
    assert (answer["scores"].shape, answer["text"].shape) == ((3,), (1,))


FAULTS = {
    "raise": "step 'scored': fails: ValueError: no such row",
    "exit": "step 'scored': fails: SystemExit: 3",
    "type": "step 'scored': returns float64 as 'scores', its annotation says float32[n]",
    "shape": "step 'scored': 'scores' has the shape [1], its annotation says float32[n], where n = 3",
    "number": "step 'scored': returns int in 'text', its annotation says string[]",
    "count": "step 'scored': returns 3 values, its annotation says 2",
    "none": "step 'scored': returns 1 values, its annotation says 2",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_the_step(fault: str) -> None:
    with pytest.raises(StepError) as refused:
        step("scored").answer(asked(fault), batching=True)
    assert str(refused.value) == FAULTS[fault]


def test_a_fault_is_the_error_of_its_own_request_only() -> None:
    good, bad, last = step("scored").answer_all([asked("a"), asked("raise"), asked("b")], batching=True)
    assert isinstance(good, dict)
    assert isinstance(bad, StepError)
    assert isinstance(last, dict)


@pytest.mark.parametrize("fault", ["hang", "loop"])
def test_a_call_that_takes_too_long_is_interrupted(fault: str) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(StepError, match=r"step 'scored': no answer within 0.05 s; it was interrupted"):
        step("scored", timeout=0.05).answer(asked(fault), batching=True)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_another_thread_there_is_no_limit() -> None:
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(step("scored", timeout=1).answer(asked("a"), batching=True))
    )
    thread.start()
    thread.join()
    assert answers


def test_a_string_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(StepError, match="step 'scored': input 'fault' is not UTF-8 at byte 1"):
        step("scored").answer(asked(b"a\xff"), batching=True)


def test_a_batched_function_gets_requests_together_and_each_its_own_rows() -> None:
    requests = [{"x": np.full((rows, 3), rows, np.float32)} for rows in (1, 2, 3)]
    answers = step("totals", batched=True).answer_all(requests, batching=True)
    assert [answer["total"].tolist() for answer in answers if isinstance(answer, dict)] == [
        [[3]],
        [[6], [6]],
        [[9], [9], [9]],
    ]


def test_a_batched_function_that_refuses_one_request_answers_the_others() -> None:
    requests = [{"x": np.full((1, 3), value, np.float32)} for value in (1, -1)]
    good, bad = step("totals", batched=True).answer_all(requests, batching=True)
    assert isinstance(good, dict)
    assert str(bad).startswith("step 'totals': fails: ValueError: negative")


def test_samples_of_different_sizes_belong_into_different_requests() -> None:
    answer = step("resized").answer({"picture": np.zeros((2, 4, 6), np.uint8)}, batching=True)
    assert answer["output"].shape == (2, 4, 3)


UNUSABLE = {
    "no_annotation": "the argument 'x' has no annotation",
    "no_shape": "the argument 'x' is an array of unknown type or shape",
    "no_result": "the result has no annotation",
    "wrong_type": "the argument 'x' has the type 'float': choose one of bool, int8",
    "wrong_size": "the argument 'x' has the size '-1': write a number, a name, or \\? for any size",
    "wrong_kind": "the argument 'x' is dict",
    "many": "can't be an input: name each input as a plain argument",
    "NUMBER": "is a int, not a function",
    "absent": "has no 'absent'",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_annotations_that_describe_no_tensors_are_refused(name: str) -> None:
    with pytest.raises(StepError, match=UNUSABLE[name]):
        step(name)
