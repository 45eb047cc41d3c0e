"""The local onnxruntime backend refuses what the container's C++ backend refuses, for the same reasons."""

from collections.abc import Callable
from typing import Any

import pytest

from modelrepo.generator.triton.onnx_rules import Model, Refused, Tensor, completion
from modelrepo.server.backends.onnxruntime.rules import check, refuse_unsupported

FLOAT = "TYPE_FP32"
MODEL = Model(
    inputs=(Tensor("a", FLOAT, (-1, 3)), Tensor("b", "TYPE_INT64", (-1, -1))),
    outputs=(Tensor("x", FLOAT, (-1, 5)), Tensor("y", FLOAT, (-1, -1))),
)
SCALAR = Model(inputs=(Tensor("a", FLOAT, ()),), outputs=(Tensor("x", FLOAT, ()),))


def written(name: str, data_type: str = FLOAT, *dims: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "data_type": data_type, "dims": list(dims), **more}


def config(**changes: Any) -> dict[str, Any]:
    return {
        "max_batch_size": 8,
        "input": [written("a", FLOAT, 3), written("b", "TYPE_INT64", 7)],
        "output": [written("x", FLOAT, 5), written("y", FLOAT, -1)],
        **changes,
    }


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        action()
    return str(caught.value)


def test_a_configuration_that_fits_is_accepted() -> None:
    check(config(), MODEL)


def test_a_size_that_the_model_leaves_open_may_be_fixed_for_an_input_and_not_for_an_output() -> None:
    check(config(input=[written("a", FLOAT, 3), written("b", "TYPE_INT64", 7)]), MODEL)
    said = refusal(lambda: check(config(output=[written("y", FLOAT, 7)]), MODEL))
    assert "tensor 'y'" in said
    assert "[-1,-1]" in said
    assert "[-1,7]" in said


def test_outputs_may_be_left_out_and_inputs_not() -> None:
    check(config(output=[written("x", FLOAT, 5)]), MODEL)
    assert refusal(lambda: check(config(input=[written("a", FLOAT, 3)]), MODEL)) == (
        "configuration expects 1 inputs, model provides 2"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": [written("a", FLOAT, 4), written("b", "TYPE_INT64", 7)]}, "complete shape [-1,4])"),
        ({"input": [written("a", FLOAT, 3, 1), written("b", "TYPE_INT64", 7)]}, "specifies 3 dimensions"),
        ({"input": [written("a", "TYPE_FP16", 3), written("b", "TYPE_INT64", 7)]}, "model provides TYPE_FP32"),
        ({"input": [written("c", FLOAT, 3), written("b", "TYPE_INT64", 7)]}, "allowed inputs are: a, b"),
        ({"output": [written("z", FLOAT, 5)]}, "allowed outputs are: x, y"),
        ({"max_batch_size": 0}, "specifies 1 dimensions (shape [3])"),
        (
            {"input": [written("a", FLOAT, 3), written("b", "TYPE_INT64", 7), written("c", FLOAT, 1, optional=True)]},
            "optional input 'c' is not supported",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(lambda: check(config(**changes), MODEL))


def test_a_value_that_is_not_a_tensor_is_refused_even_if_it_is_not_requested() -> None:
    model = Model(MODEL.inputs, (*MODEL.outputs, Tensor("s", "seq(tensor(float))", ())))
    assert "Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 's'" in refusal(lambda: check(config(), model))


def test_a_model_with_a_fixed_first_dimension_is_not_batched() -> None:
    fixed = Model(inputs=(Tensor("a", FLOAT, (1, 3)),), outputs=(Tensor("x", FLOAT, (1, 5)),))
    one = {"input": [written("a", FLOAT, 3)], "output": [written("x", FLOAT, 5)]}
    assert "first dimension must be -1" in refusal(lambda: check({"max_batch_size": 1, **one}, fixed))
    whole = {"input": [written("a", FLOAT, 1, 3)], "output": [written("x", FLOAT, 1, 5)]}
    check({"max_batch_size": 0, **whole}, fixed)


def test_a_reshaped_tensor_is_judged_by_what_it_becomes() -> None:
    flat = Model(inputs=(Tensor("a", FLOAT, (-1,)),), outputs=(Tensor("x", FLOAT, (-1,)),))
    reshaped: dict[str, Any] = {"reshape": {"shape": []}}
    tensors = {"input": [written("a", FLOAT, 1, **reshaped)], "output": [written("x", FLOAT, 1, **reshaped)]}
    check({"max_batch_size": 8, **tensors}, flat)


def test_scalars_are_written_as_ones() -> None:
    check({"max_batch_size": 0, "input": [written("a", FLOAT, 1)], "output": [written("x", FLOAT, 1)]}, SCALAR)
    two = {"max_batch_size": 0, "input": [written("a", FLOAT, 2)], "output": [written("x", FLOAT, 1)]}
    assert "scalar tensor 'a'" in refusal(lambda: check(two, SCALAR))


def test_an_initializer_that_is_an_input_too_may_be_asked_for_as_an_optional_one() -> None:
    model = Model(MODEL.inputs, MODEL.outputs, overridable=(Tensor("w", FLOAT, (3,)),))
    tensors = {
        "input": [
            written("a", FLOAT, -1, 3),
            written("b", "TYPE_INT64", -1, -1),
            written("w", FLOAT, 3, optional=True),
        ],
        "output": [written("x", FLOAT, -1, 5)],
    }
    check({"max_batch_size": 0, **tensors}, model)


def test_the_inputs_that_the_sequence_batcher_fills_count() -> None:
    model = Model((*MODEL.inputs, Tensor("start", FLOAT, (-1, 1))), MODEL.outputs)

    def batching(name: str, values: str) -> dict[str, Any]:
        control = {"kind": "CONTROL_SEQUENCE_START", "int32_false_true": [], "fp32_false_true": [], values: [0, 1]}
        return config(sequence_batching={"control_input": [{"name": name, "control": [control]}]})

    check(batching("start", "fp32_false_true"), model)
    said = refusal(lambda: check(batching("end", "fp32_false_true"), model))
    assert "model does not provide that input" in said
    said = refusal(lambda: check(batching("start", "int32_false_true"), model))
    assert "expects data-type FLOAT" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}}},
            "gpu_execution_accelerator 'tensorrt'",
        ),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, "KIND_GPU"),
        ({"input": [written("a", FLOAT, 3, allow_ragged_batch=True)]}, "ragged batching of input 'a'"),
        ({"batch_input": [{"kind": "BATCH_ELEMENT_COUNT"}]}, "batch_input"),
        ({"sequence_batching": {"state": [{"input_name": "a"}]}}, "implicit state"),
        ({"model_operations": {"op_library_filename": ["own.so"]}}, "model_operations"),
        ({"model_transaction_policy": {"decoupled": True}}, "decoupled"),
        ({"input": [written("a", "TYPE_BF16", 3)]}, "BF16"),
    ],
)
def test_what_only_the_container_can_do_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    refuse_unsupported(config())
    assert said in refusal(lambda: refuse_unsupported(config(**changes)))


def test_missing_fields_are_filled_in_as_in_the_container() -> None:
    filled = completion({"max_batch_size": 0}, MODEL)
    assert filled["max_batch_size"] == 4
    assert filled["dynamic_batching"] == {}
    assert [tensor["dims"] for tensor in filled["input"]] == [[3], [-1]]
    assert completion(config(), MODEL) == {}
    assert "dynamic_batching" not in completion({"max_batch_size": 1}, MODEL)
    assert completion({"max_batch_size": 0}, SCALAR)["input"] == [written("a", FLOAT, 1)]
    assert "autofill failed" in refusal(lambda: completion({"max_batch_size": 2}, SCALAR))
