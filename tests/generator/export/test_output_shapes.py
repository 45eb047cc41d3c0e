"""The dims of outputs are those of the answers, whatever an ONNX file declares."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.export import output_shapes
from modelrepo.generator.export.output_shapes import Seen
from modelrepo.generator.specs.tensors import TensorSpec
from tests import onnx_files
from tests.conftest import Generate
from tests.onnx_files import FLOAT, INT64, STRING, write

ROWS = ("x", FLOAT, ["batch", 4])


def scalar(number: float, dtype: str, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(number, dtype), name)


def parts(shape: tuple[int, ...], declared: Any, inputs: Any = (ROWS,)) -> dict[str, Any]:
    """Return the parts of a model that reshapes x to a shape that ONNX Runtime infers the length of, at most."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["none"], to=INT64),
        helper.make_node("Add", ["none", "shape"], ["sizes"]),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    constants = (scalar(0, "float32", "zero"), numpy_helper.from_array(np.array(shape), "shape"))
    return {"nodes": nodes, "inputs": inputs, "outputs": (("y", FLOAT, declared),), "initializers": constants}


def loop() -> dict[str, Any]:
    """Return a model that doubles its columns twice, whose output ONNX Runtime infers no shape of."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Concat", ["a", "a"], ["aa"], axis=1)],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", FLOAT, ["rows", "columns"]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("aa", FLOAT, ["rows", "more"]),
        ],
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)
    turns = scalar(2, "int64", "turns")
    return {"nodes": (node,), "inputs": (ROWS,), "outputs": (("y", FLOAT, None),), "initializers": (turns,)}


CASES: dict[str, tuple[dict[str, Any], int, list[int], bool]] = {
    "no shape, and none inferred": (loop(), 16, [16], False),
    "no shape, and only its length inferred": (parts((-1, 2, 2), None), 16, [-1, -1], True),
    "dimensions without names": (parts((-1, 2, 2), [None, None, None]), 16, [-1, -1], True),
    "another size": (parts((-1, 2, 2), ["batch", 2, 3]), 16, [2, -1], False),
    "another number of dimensions": (parts((-1, 2, 2), ["batch", 4]), 16, [2, 2], False),
    "the batch of a trace": (parts((-1, 2, 2), [1, 2, 2]), 16, [2, 2], False),
    "what is right": (parts((-1, 2, 2), ["batch", 2, 2]), 16, [2, 2], True),
    "not the batch": (parts((-1, 2), None), 0, [-1, -1], True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_has_the_dims_of_the_answers(generate: Generate, workdir: Path, case: str) -> None:
    """Triton compares them with what a session tells of the served file."""
    built, batch, dims, is_as_it_was = CASES[case]
    content = write("net.onnx", **built).read_bytes()
    outcome = generate("--model", "onnx:net.onnx", "-q")
    assert outcome.code == 0, outcome.err
    config = text_format.Parse(Path("model_repository/net/config.pbtxt").read_text(), ModelConfig())
    assert (config.max_batch_size, list(config.output[0].dims)) == (batch, dims)
    served = Path("model_repository/net/1/model.onnx")
    assert (served.read_bytes() == content) == is_as_it_was
    (told,) = onnxruntime.InferenceSession(served).get_outputs()
    told_dims = [size if isinstance(size, int) else -1 for size in told.shape]
    assert told_dims == ([-1, *dims] if batch else dims)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_a_window_that_onnx_runtime_infers_too_many_is_cut(generate: Generate, workdir: Path, operator: str) -> None:
    """Of 5 values and 1 of padding on each side, the third window of 2 in steps of 2 is the last that has a value."""
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    parts: dict[str, Any] = {
        "nodes": (helper.make_node(operator, ["x"], ["y"], **pool),),
        "inputs": (("x", FLOAT, ["batch", 1, 5, 5]),),
        "outputs": (("y", FLOAT, ["batch", 1, "height", "width"]),),
    }
    (told,) = onnxruntime.InferenceSession(onnx_files.model(**parts).SerializeToString()).get_outputs()
    assert told.shape == ["batch", 1, 4, 4], "ONNX Runtime infers it right: output_shapes.cut is no longer needed"
    write("net.onnx", **parts)
    outcome = generate("--model", "onnx:net.onnx", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert (
        "output 'y' answers with the shape [batch, 1, 3, 3], which the served file declares" in outcome.result["notes"]
    )
    config = text_format.Parse(Path("model_repository/net/config.pbtxt").read_text(), ModelConfig())
    assert (config.max_batch_size, list(config.output[0].dims)) == (16, [1, 3, 3])


def test_a_size_that_depends_on_values_is_dynamic(generate: Generate, workdir: Path) -> None:
    constants = (scalar(0, "int64", "zero"), scalar(1, "int64", "one"))
    write(
        "net.onnx",
        nodes=(helper.make_node("Squeeze", ["n"], ["end"]), helper.make_node("Range", ["zero", "end", "one"], ["y"])),
        inputs=(("n", INT64, [1]),),
        outputs=(("y", INT64, [3]),),
        initializers=constants,
    )
    outcome = generate("--model", "onnx:net.onnx", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert "output 'y' answers with the shape [y_0], which the served file declares" in outcome.result["notes"]
    config = text_format.Parse(Path("model_repository/net/config.pbtxt").read_text(), ModelConfig())
    assert list(config.output[0].dims) == [-1]


def test_a_size_that_the_users_samples_show_is_refused(generate: Generate, workdir: Path) -> None:
    write(
        "net.onnx",
        nodes=(helper.make_node("StringSplit", ["x"], ["y", "count"], delimiter="<cut>"),),
        inputs=(("x", STRING, [1]),),
        outputs=(("y", STRING, [1, 1]),),
    )
    Path("s").mkdir()
    np.savez("s/a.npz", x=np.array(["two<cut>words"]))
    outcome = generate("--model", "onnx:net.onnx", "--samples", "s", "-q")
    assert outcome.code == 5
    assert "output 'y' answers with the shape [1, 2], but the exported model declares y[1, 1]" in outcome.err


def test_a_size_that_few_inputs_show_is_dynamic(generate: Generate, workdir: Path) -> None:
    """The first inputs have four values above -1, as declared."""
    write(
        "net.onnx",
        nodes=(helper.make_node("Greater", ["x", "low"], ["high"]), helper.make_node("Compress", ["x", "high"], ["y"])),
        inputs=(("x", FLOAT, [4]),),
        outputs=(("y", FLOAT, [4]),),
        initializers=(scalar(-1, "float32", "low"),),
    )
    assert generate("--model", "onnx:net.onnx", "-q").code == 0
    config = text_format.Parse(Path("model_repository/net/config.pbtxt").read_text(), ModelConfig())
    assert list(config.output[0].dims) == [-1]


def test_an_output_that_declares_no_shape_but_has_an_inferred_one_gets_no_note(
    generate: Generate, workdir: Path
) -> None:
    write("net.onnx", outputs=(("y", FLOAT, None),))
    assert generate("--model", "onnx:net.onnx", "--json", "-q").result["notes"] == []


def seen(*pairs: tuple[dict[str, int], tuple[int, ...]]) -> list[Seen]:
    return [Seen(sizes, {"y": shape}) for sizes, shape in pairs]


@pytest.mark.parametrize(
    ("answers", "dims"),
    [
        (seen(({"b": 1, "n": 1}, (1, 1, 4)), ({"b": 2, "n": 3}, (2, 3, 4))), ("b", "n", 4)),
        (seen(({"n": 1}, (2,)), ({"n": 3}, (6,))), ("y_0",)),
        (seen(({"n": 1}, (0,)), ({"n": 3}, (0,))), ("y_0",)),
        (seen(({"n": 1}, ()), ({"n": 3}, ())), ()),
        (seen(({"n": 1}, ()), ({"n": 3}, (3,))), None),
        ([], None),
    ],
)
def test_an_axis_has_the_name_of_what_it_follows(answers: list[Seen], dims: object) -> None:
    assert output_shapes.dims_of("y", answers) == dims


def test_a_model_that_refuses_small_sizes_is_asked_for_larger_ones() -> None:
    model = onnx_files.model(
        nodes=(
            helper.make_node("Slice", ["x", "start", "end", "axis"], ["s"]),
            helper.make_node("Reshape", ["s", "shape"], ["y"]),
        ),
        inputs=(("x", FLOAT, ["batch", "length"]),),
        outputs=(("y", FLOAT, None),),
        initializers=[
            numpy_helper.from_array(np.array(each), name)
            for name, each in (("start", [0]), ("end", [32]), ("axis", [1]), ("shape", [-1, 4, 8]))
        ],
    )  # fmt: skip
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = (TensorSpec("x", "float32", ("batch", "length")),)
    assert {shape for each in output_shapes.look(session, inputs, model) for shape in each.shapes.values()} == {
        (2, 4, 8)
    }


def letters() -> dict[str, Any]:
    """Return the parts of a model that reads one letter of 16 columns, of a rank that ONNX Runtime does not infer."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[4, 16], strides=[4, 16], ceil_mode=1),
        helper.make_node("Transpose", ["pooled"], ["rows"], perm=[3, 0, 1, 2]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["none"], to=INT64),
        helper.make_node("Add", ["none", "shape"], ["sizes"]),
        helper.make_node("Reshape", ["rows", "sizes"], ["y"]),
    ]
    constants = (scalar(0, "float32", "zero"), numpy_helper.from_array(np.array([-1, 1, 1]), "shape"))
    declared = (("y", FLOAT, [1, "length"]),)  # of the wrong rank, as an exporter wrote it for a captcha reader
    return {
        "nodes": nodes,
        "inputs": (("x", FLOAT, [1, 1, 4, "width"]),),
        "outputs": declared,
        "initializers": constants,
    }


def test_a_size_that_only_wide_inputs_show_is_dynamic() -> None:
    model = onnx_files.model(**letters())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = (TensorSpec("x", "float32", (1, 1, 4, "width")),)
    assert output_shapes.contradicted(session, output_shapes.look(session, inputs, model)) == ["y"]
    assert output_shapes.dims_of("y", output_shapes.look_thoroughly(session, inputs)) == ("y_0", 1, 1)


def test_declared_shapes_survive_the_round_trip() -> None:
    model = onnx_files.model()
    output_shapes.declare(model, {"y": ("batch", 4, "y_2")})
    dims = onnx.ModelProto.FromString(model.SerializeToString()).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 4, "y_2"]
