"""Dimensions whose names say how they follow from others get sizes that fit those."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelrepo.generator.specs import dimensions
from modelrepo.generator.specs.tensors import Dim, Signature, TensorSpec, first_sizes
from modelrepo.generator.tensorrt.profiles import derive
from modelrepo.generator.verification.inputs import example_sizes, generated
from tests.conftest import Generate
from tests.onnx_files import FLOAT, write

SUM = "past_sequence_length + sequence_length"
SIZES = {"past_sequence_length": 3, "sequence_length": 2, "s0": 7, "s1": 3}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (SUM, 5),
        ("past_sequence_length+1", 4),
        ("2*s0", 14),
        ("s0//2", 3),
        ("(s0 - 1)//2 + 1", 4),
        ("floor(s0/2 + 1/2)", 4),
        ("ceiling(s0/2)", 4),
        ("Max(s0, s1) - Min(s0, s1)", 4),
        ("Mod(s0, s1)", 1),
        ("s1**2", 9),
        ("-s1 + s0", 4),
        ("s0", 7),
    ],
)
def test_an_expression_of_sizes_is_computed(name: str, size: int) -> None:
    assert dimensions.size_of(name, SIZES) == size
    assert dimensions.own([*SIZES, name]) == list(SIZES)


@pytest.mark.parametrize(
    "name", ["a b", "time-steps", "past + other", "s0.T", "s0[0]", "f(s0)", "'s0'", "s0 and s1", "s0 +", "?", "1.5*s0"]
)
def test_any_other_name_is_a_size_of_its_own(name: str) -> None:
    assert name in dimensions.own([*SIZES, name])


def test_sizes_are_raised_until_no_difference_is_below_one() -> None:
    sizes = dimensions.settled({"total": 2, "used": 200}, ["total - used", "used//3"])
    assert sizes["total"] - sizes["used"] >= 1


def spec(name: str, *shape: Dim) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


DECODER = Signature(
    (
        spec("x", "batch", "sequence_length", 4),
        spec("mask", "batch", SUM),
        spec("past", "batch", "past_sequence_length", 4),
    ),
    (spec("present", "batch", SUM, 4),),
)


def test_generated_inputs_of_a_decoder_have_sizes_that_fit_and_also_an_empty_past() -> None:
    seen = {(pool.arrays["past"].shape[1], pool.arrays["mask"].shape[1]) for _, pool in generated(DECODER, 1, 0)}
    assert all(
        pool.arrays["mask"].shape[1] == pool.arrays["past"].shape[1] + pool.arrays["x"].shape[1]
        for _, pool in generated(DECODER, 1, 0)
    )
    assert (0, 3) in seen
    assert first_sizes(DECODER.inputs)[SUM] == 2
    assert set(example_sizes(DECODER.inputs)) == {"batch", "sequence_length", "past_sequence_length"}


def test_a_profile_needs_no_range_of_a_size_that_follows() -> None:
    ranges = {"sequence_length": (1, 1, 8), "past_sequence_length": (1, 16, 64)}
    (profile,) = derive(DECODER, 4, (2,), (ranges,))
    assert profile.shapes["mask"] == ((1, 2), (2, 17), (4, 72))


def test_a_batch_within_another_dimension_is_none() -> None:
    signature = Signature((spec("x", "batch", "batch*heads"), spec("y", "batch", "heads")), (spec("z", "batch"),))
    assert signature.batch_dim is None


def test_a_decoder_with_a_cache_is_published_with_a_warm_up_that_it_answers(generate: Generate) -> None:
    """The names are those that Optimum writes; mask must be as long as past and x together."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["kv"], axis=1),
        helper.make_node("Shape", ["kv"], ["size"], start=0, end=2),
        helper.make_node("Reshape", ["mask", "size"], ["m"]),
        helper.make_node("Unsqueeze", ["m", "two"], ["m3"]),
        helper.make_node("Mul", ["kv", "m3"], ["present"]),
    ]
    path = write(
        "step.onnx",
        nodes=nodes,
        inputs=[(each.name, FLOAT, list(each.shape)) for each in DECODER.inputs],
        outputs=[(each.name, FLOAT, list(each.shape)) for each in DECODER.outputs],
        initializers=[numpy_helper.from_array(np.array([2]), "two")],
    )
    assert onnx.load(path).graph.output[0].type.tensor_type.shape.dim[1].dim_param == SUM
    result = generate("--model", f"onnx:{path}", "--json").result
    assert (result["status"], result["max_batch_size"], result["notes"]) == ("published", 16, [])
