"""The steps of the sequences that the live check asks, and the controls that its source is given."""

from collections.abc import Mapping

import numpy as np
import pytest

from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification import sequences
from modelrepo.generator.verification.inputs import Pool

FLOATS = "fp32_false_true: [ 0, 1 ]"
SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", 1)), TensorSpec("start", "float32", ("batch", 1))),
    (TensorSpec("y", "float32", ("batch", 1)),),
)


def config(more: str = "", batch: int = 8, control: str = f"kind: CONTROL_SEQUENCE_START {FLOATS}") -> object:
    control_input = f'control_input {{ name: "start" control {{ {control} }} }}'
    return pbtxt.parse(f"max_batch_size: {batch} sequence_batching {{ {control_input} {more} }}", "it")


@pytest.mark.parametrize(
    ("more", "batch", "ids"),
    [
        ("", 8, [1001, 1002, 1001, 1002, 1001, 1002]),
        ("", 1, [1001, 1001, 1001, 1002, 1002, 1002]),
        ("oldest { max_candidate_sequences: 1 }", 8, [1001, 1001, 1001, 1002, 1002, 1002]),
        ("oldest { max_candidate_sequences: 4 }", 8, [1001, 1002, 1001, 1002, 1001, 1002]),
    ],
)
def test_two_sequences_are_sent_in_turn_if_the_model_takes_two_at_a_time(more: str, batch: int, ids: list[int]) -> None:
    assert [step.identity for step in sequences.order(config(more, batch))] == ids


@pytest.mark.parametrize(
    ("control", "values"),
    [
        (f"kind: CONTROL_SEQUENCE_START {FLOATS}", (1, 1, 0, 0, 0, 0)),
        ("kind: CONTROL_SEQUENCE_END int32_false_true: [ 3, -3 ]", (3, 3, 3, 3, -3, -3)),
        ("kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ]", (True,) * 6),
        ("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64", (1001, 1002) * 3),
    ],
)
def test_each_step_has_the_controls_that_triton_fills_in(control: str, values: tuple[object, ...]) -> None:
    assert sequences.controls(config(control=control)) == {"start": values}


def test_the_source_gets_the_controls_as_inputs_and_what_it_refuses_is_left_out() -> None:
    def source(arrays: Arrays) -> Mapping[str, np.ndarray]:
        if (arrays["x"] < 0).any():
            raise InputRefused("it refuses numbers below zero")
        return {"y": arrays["x"] + arrays["start"]}

    pool = sequences.asked(config(), SIGNATURE, source, (), 0)
    assert pool.arrays["start"].ravel().tolist() == [1, 1, 0, 0, 0, 0]
    assert (pool.arrays["x"] >= 0).all()


def test_samples_come_first() -> None:
    sample = Pool({"x": np.full((1, 1), 5, "float32"), "start": np.zeros((1, 1), "float32")}, ("sample a",))
    pool = sequences.asked(config(), SIGNATURE, lambda arrays: {"y": arrays["x"]}, (sample,), 0)
    assert pool.arrays["x"].ravel().tolist() == [5] * 6
    assert pool.families[0] == "sample a, as a step"


def test_a_source_that_answers_no_step_is_told() -> None:
    def source(arrays: Arrays) -> Mapping[str, np.ndarray]:
        raise InputRefused("no")

    with pytest.raises(VerificationError, match="answers none of the generated inputs as steps"):
        sequences.asked(config(), SIGNATURE, source, (), 0)
