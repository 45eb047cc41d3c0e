"""Graphs around a model become one with it, whatever the tensors of each are called."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.wrapped.joining import finished, prepared
from modelrepo.generator.graphs.runtime import open_model
from modelrepo.generator.specs.preparation import Fragment
from modelrepo.generator.specs.tensors import Array, TensorSpec

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]>\n'
    "inner (float[batch, 3] input) => (float[batch, 3] output, float[batch, 3] other)\n"
    "<float[1] two = {2}> { image = Mul (input, two) \n output = Neg (image) \n other = Abs (image) }"
)
IMAGE, OUTPUT = TensorSpec("image", "uint8", ("batch", 3)), TensorSpec("output", "float32", ("batch", 3))
BEFORE = Fragment(
    onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18, "mine" : 1]>\n'
        "before (uint8[batch, 3] image) => (float[batch, 3] input)\n"
        "<float[1] two = {10}> { output = Cast <to=1> (image) \n input = mine.scaled (output, two) }\n"
        '<domain: "mine", opset_import: ["" : 18]> scaled (a, b) => (c) { c = Mul (a, b) }'
    ),
    (IMAGE,),
    (TensorSpec("input", "float32", ("batch", 3)),),
    {"input": "input"},
)
AFTER = Fragment(
    onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]>\n'
        "after (float[batch, 3] answer, float[batch, 3] given) => (float[batch, 3] output)\n"
        "{ two = Neg (answer) \n output = Add (two, given) }"
    ),
    (TensorSpec("answer", "float32", ("batch", 3)), TensorSpec("given", "float32", ("batch", 3))),
    (OUTPUT,),
    {"output": "answer", "input": "given"},
)


def joined(before: Fragment | None, after: Fragment | None) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    if after:
        finished(model, after)
    if before:
        prepared(model, before)
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(model: onnx.ModelProto, folder: Path) -> dict[str, Array]:
    path = folder / "model.onnx"
    onnx.save(model, path)
    name = model.graph.input[0].name
    dtype = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    return dict(open_model(path)({name: np.array([[1, 2, 3]], dtype)}))


def test_a_graph_before_a_model_makes_its_input(tmp_path: Path) -> None:
    model = joined(BEFORE, None)
    found = answers(model, tmp_path)
    assert [value.name for value in model.graph.input] == ["image"]
    np.testing.assert_array_equal(found["output"], [[-20, -40, -60]])
    np.testing.assert_array_equal(found["other"], [[20, 40, 60]])


def test_a_graph_after_a_model_reads_its_answers_and_inputs(tmp_path: Path) -> None:
    model = joined(None, AFTER)
    found = answers(model, tmp_path)
    assert [value.name for value in model.graph.output] == ["output", "other"]
    np.testing.assert_array_equal(found["output"], [[3, 6, 9]])


def test_both_are_joined_with_the_newest_of_their_operator_sets_and_with_their_functions(tmp_path: Path) -> None:
    model = joined(BEFORE, AFTER)
    np.testing.assert_array_equal(answers(model, tmp_path)["output"], [[30, 60, 90]])
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18, "mine": 1}
    assert model.ir_version == 9
    assert [function.name for function in model.functions] == ["scaled"]


def test_an_input_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(ConversionError, match="no input 'pixels'"):
        joined(Fragment(BEFORE.model, BEFORE.inputs, BEFORE.outputs, {"input": "pixels"}), None)
