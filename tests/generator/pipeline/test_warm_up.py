"""A model is warmed up with zeros of a shape that verification saw answered, or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.errors import InputRefused
from modelrepo.generator.pipeline import warm_up
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from tests.conftest import Generate

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
SIGNATURE = Signature((TensorSpec("x", "float32", ("rows", 2)),), (TensorSpec("y", "float32", ("rows",)),))


def save(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, Any]) -> None:
    graph = helper.make_graph(nodes, "g", described(inputs), described(outputs))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), "net.onnx")


def described(tensors: dict[str, tuple[int, list[Any]]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()]


def warmed_up(generate: Generate, *arguments: str) -> dict[str, list[int]]:
    """Return the dims of the warm-up's inputs; empty without a warm-up."""
    outcome = generate("--model", "onnx:net.onnx", "--verify-effort", "quick", *arguments)
    assert outcome.code == 0, outcome.err
    config = text_format.Parse(Path("model_repository/net/config.pbtxt").read_text(), ModelConfig())
    assert bool(config.model_warmup) != (warm_up.NONE in outcome.err)
    return {name: list(given.dims) for each in config.model_warmup for name, given in each.inputs.items()}


def test_a_model_that_needs_two_rows_is_warmed_up_with_two(generate: Generate) -> None:
    """One row makes some kernels read where nothing is: a Triton died of it."""
    nodes = [
        helper.make_node("Constant", [], ["second"], value_ints=[1]),
        helper.make_node("Gather", ["x", "second"], ["y"], axis=0),
    ]
    save(nodes, {"x": (FLOAT, ["rows", 3])}, {"y": (FLOAT, [1, 3])})
    assert warmed_up(generate) == {"x": [2, 3]}


def test_sizes_that_belong_together_are_those_of_one_answered_input(generate: Generate) -> None:
    save(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        {"a": (FLOAT, ["rows", "inner"]), "b": (FLOAT, ["inner", "columns"])},
        {"c": (FLOAT, ["rows", "columns"])},
    )
    assert warmed_up(generate) == {"a": [1, 1], "b": [1, 1]}


def test_a_model_that_answers_only_samples_is_warmed_up_with_their_sizes(generate: Generate) -> None:
    nodes = [
        helper.make_node("Constant", [], ["size"], value_ints=[1, 2, 5]),
        helper.make_node("Reshape", ["x", "size"], ["y"]),
    ]
    save(nodes, {"x": (FLOAT, ["batch", "length"])}, {"y": (FLOAT, [1, 2, 5])})
    np.savez("samples.npz", x=np.ones((1, 10), "float32"))
    assert warmed_up(generate, "--samples", "samples.npz") == {"x": [1, 10]}


def test_a_model_that_does_not_answer_zeros_is_not_warmed_up(generate: Generate) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["number"], to=INT64), helper.make_node("Neg", ["number"], ["y"])]
    save(nodes, {"x": (STRING, ["batch", 2])}, {"y": (INT64, ["batch", 2])})
    assert warmed_up(generate) == {}  # an empty text is not a number


def test_without_verification_both_models_are_asked_the_smallest_zeros(generate: Generate, numpy_models: None) -> None:
    """So the configuration is the same as with verification, and the version stays."""
    configs = []
    for more in ("--no-verify", "--verify"):
        assert generate("--model", "numpy:linear", more).code == 0
        configs.append(Path("model_repository/linear/config.pbtxt").read_text())
    assert configs[0] == configs[1]
    assert "model_warmup" in configs[0]


def total(arrays: Arrays) -> dict[str, Any]:
    return {"y": arrays["x"].sum(1)}


def not_zeros(arrays: Arrays) -> dict[str, Any]:
    if not arrays["x"].any():
        raise InputRefused("zeros")
    return total(arrays)


def test_the_converted_model_is_not_asked_zeros_that_the_source_refuses() -> None:
    """It may end the process on them."""
    asked: list[Arrays] = []

    def converted(arrays: Arrays) -> dict[str, Any]:
        asked.append(arrays)
        return total(arrays)

    seen = warm_up.Seen()
    seen.watching(converted)({"x": np.ones((1, 2), "float32")})
    assert warm_up.answered(seen.shapes, not_zeros, converted, SIGNATURE, batched=True) is None
    assert len(asked) == 1
    assert warm_up.answered(seen.shapes, total, converted, SIGNATURE, batched=True) == {"x": (1, 2)}


def test_a_model_that_was_never_asked_one_sample_is_not_warmed_up_with_batches() -> None:
    """A warm-up of a model with batching is a number of samples."""
    assert warm_up.answered({"x": (2, 2)}, total, total, SIGNATURE, batched=True) is None
    assert warm_up.answered({"x": (2, 2)}, total, total, SIGNATURE, batched=False) == {"x": (2, 2)}


def test_a_converted_model_that_fails_on_zeros_is_not_warmed_up() -> None:
    assert warm_up.answered({"x": (1, 2)}, total, not_zeros, SIGNATURE, batched=True) is None
