"""An ONNX file as a source: served byte for byte, run on all its inputs, or refused in one line."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.clients import GrpcClient, HttpClient
from modelrepo.generator.errors import InputRefused, OptionError, VerificationError
from modelrepo.generator.specs.tensors import Arrays, Domain, Signature, TensorSpec
from modelrepo.generator.verification import datasets, inputs, verify
from modelrepo.server import running_server
from tests import onnx_files
from tests.conftest import Generate, snapshot
from tests.onnx_files import BOOL, FLOAT, INT64, STRING, write

FAMILIES = len(inputs.FAMILIES)


def config_of(name: str) -> Any:
    return text_format.Parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), ModelConfig())


def verification_of(generate: Generate, name: str, *arguments: str) -> dict[str, Any]:
    outcome = generate("--model", f"onnx:{name}.onnx", *arguments, "--json", "-q")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = outcome.result["verification"]
    return {**found, "notes": outcome.result["notes"], "max_batch_size": outcome.result["max_batch_size"]}


def usual_cases(found: dict[str, Any]) -> int:
    """Return the number of cases without those of the search."""
    return int(found["cases"] - found["coverage"]["probes"])


# What is published.


def test_a_file_is_published_byte_for_byte_under_its_stem(generate: Generate, workdir: Path) -> None:
    content = write("net.v2.onnx").read_bytes()
    outcome = generate("--model", "onnx:net.v2.onnx", "--json", "-q")
    assert (outcome.code, outcome.result["name"], outcome.result["max_batch_size"]) == (0, "net.v2", 16)
    assert Path("model_repository/net.v2/1/model.onnx").read_bytes() == content
    source = json.loads(next(Path(".modelrepo").rglob("manifests/*/1.json")).read_text())["provenance"]["source"]
    assert (source["reference"], source["weights"]["kind"], source["exporter"]) == ("onnx:net.v2.onnx", "file", "as-is")


def test_an_edit_of_the_file_does_not_reach_what_was_published(generate: Generate, workdir: Path) -> None:
    path = write("net.onnx")
    content = path.read_bytes()
    assert generate("--model", "onnx:net.onnx", "-q").code == 0
    with path.open("r+b") as file:
        file.write(b"broken")
    assert Path("model_repository/net/1/model.onnx").read_bytes() == content


def test_external_data_beside_and_below_the_model_is_copied(generate: Generate, workdir: Path) -> None:
    weights = np.arange(4, dtype="float32").tobytes()
    Path("parts").mkdir()
    Path("parts/w.bin").write_bytes(weights)
    Path("net.onnx").write_bytes(onnx_files.with_external_data("parts/w.bin").SerializeToString())
    assert generate("--model", "onnx:net.onnx", "-q").code == 0
    assert Path("model_repository/net/1/parts/w.bin").read_bytes() == weights


def test_a_new_version_is_made_only_if_the_bytes_differ(generate: Generate, workdir: Path) -> None:
    weights = Path("w.bin")
    weights.write_bytes(np.arange(4, dtype="float32").tobytes())
    path = Path("net.onnx")
    path.write_bytes(onnx_files.with_external_data("w.bin").SerializeToString())

    def again() -> tuple[str, int]:
        result = generate("--model", "onnx:net.onnx", "--json", "-q").result
        return result["status"], result["version"]

    assert again() == ("published", 1)
    os.utime(path)
    assert again() == ("unchanged", 1)
    weights.write_bytes(np.ones(4, "float32").tobytes())
    assert again() == ("published", 2)


def test_a_path_in_a_configuration_file_is_relative_to_it(generate: Generate, workdir: Path) -> None:
    Path("conf").mkdir()
    write("conf/my net.onnx")
    Path("conf/m.toml").write_text("[models.mine]\nmodel = 'onnx:my net.onnx'\n")
    outcome = generate("--config", "conf/m.toml", "--json", "-q")
    assert (outcome.code, outcome.result["name"]) == (0, "mine")


def test_a_name_template_helps_if_the_stem_is_not_a_valid_name(generate: Generate, workdir: Path) -> None:
    write("my net.onnx")
    outcome = generate("--model", "onnx:my net.onnx", "--name-template", "mine", "--json", "-q")
    assert (outcome.code, outcome.result["name"]) == (0, "mine")


# What the configuration says.


def test_scalars_text_and_symbolic_dimensions_are_configured_as_triton_has_them(
    generate: Generate, workdir: Path
) -> None:
    write(
        "net.onnx",
        nodes=(
            helper.make_node("Cast", ["text"], ["number"], to=FLOAT),
            helper.make_node("Mul", ["number", "scale"], ["y"]),
            helper.make_node("ReduceMax", ["y"], ["largest"], keepdims=0),
        ),
        inputs=(("text", STRING, ["rows", None]), ("scale", FLOAT, [])),
        outputs=(("y", FLOAT, ["rows", None]), ("largest", FLOAT, [])),
    )
    assert generate("--model", "onnx:net.onnx", "-q").code == 0
    config = config_of("net")
    text, scale = config.input
    assert (config.max_batch_size, text.data_type, list(text.dims)) == (0, 13, [-1, -1])  # TYPE_STRING
    assert (list(scale.dims), scale.HasField("reshape")) == ([1], False)
    assert [list(output.dims) for output in config.output] == [[-1, -1], [1]]
    assert not config.model_warmup  # an empty text is not a number


def test_one_value_per_sample_is_one_dimension_that_triton_reshapes(generate: Generate, workdir: Path) -> None:
    write("net.onnx", inputs=(("x", FLOAT, ["batch"]),), outputs=(("y", FLOAT, ["batch"]),))
    assert generate("--model", "onnx:net.onnx", "-q").code == 0
    config = config_of("net")
    assert config.max_batch_size == 16
    for tensor in (*config.input, *config.output):
        assert (list(tensor.dims), tensor.HasField("reshape"), list(tensor.reshape.shape)) == ([1], True, [])


WEIGHT = onnx.numpy_helper.from_array(np.arange(4, dtype="float32"), "w")
SCALE = onnx.numpy_helper.from_array(np.array(2, "float32"), "scale")


def write_with_optional_inputs(**more: Any) -> Path:
    return write(
        "net.onnx",
        nodes=(helper.make_node("Add", ["x", "w"], ["sum"]), helper.make_node("Mul", ["sum", "scale"], ["y"])),
        inputs=(onnx_files.ROWS, ("w", FLOAT, [4]), ("scale", FLOAT, [])),
        initializers=(WEIGHT, SCALE),
        **more,
    )


def test_initializers_listed_as_inputs_before_ir_4_are_not_inputs(generate: Generate, workdir: Path) -> None:
    write_with_optional_inputs(ir_version=3, opset=9)
    found = verification_of(generate, "net", "--live-check", "require")
    assert (found["max_batch_size"], found["notes"]) == (16, [])
    assert [tensor.name for tensor in config_of("net").input] == ["x"]


def test_optional_inputs_are_left_out_with_a_note_if_triton_batches(generate: Generate, workdir: Path) -> None:
    write_with_optional_inputs()
    found = verification_of(generate, "net")
    assert found["max_batch_size"] == 16
    assert found["notes"] == [
        "optional inputs (w, scale) are left out, since Triton has none with batching: --max-batch-size 0 publishes "
        "them"
    ]
    assert [tensor.name for tensor in config_of("net").input] == ["x"]


def test_optional_inputs_are_published_without_batching_and_asked_with_and_without(
    generate: Generate, workdir: Path
) -> None:
    write_with_optional_inputs()
    found = verification_of(generate, "net", "--max-batch-size", "0", "--live-check", "require")
    assert usual_cases(found) == 2 * 3 * FAMILIES  # given or not, numbers of rows
    assert found["live"]["cases"] == 2 * usual_cases(found)  # over gRPC and HTTP
    config = config_of("net")
    assert [(tensor.name, list(tensor.dims), tensor.optional) for tensor in config.input] == [
        ("x", [-1, 4], False),
        ("w", [4], True),
        ("scale", [1], True),
    ]
    assert list(config.model_warmup[0].inputs) == ["x"]


def test_a_client_may_give_an_optional_input_or_leave_it_out(generate: Generate, workdir: Path) -> None:
    write_with_optional_inputs()
    assert generate("--model", "onnx:net.onnx", "--max-batch-size", "0", "-q").code == 0
    ones = np.ones((2, 4), "float32")
    with running_server(Path("model_repository")) as server:
        for client in (GrpcClient(server.grpc_url), HttpClient(server.http_url)):
            with client:
                without = client.infer("net", {"x": ones})["y"]
                np.testing.assert_array_equal(without, np.tile([2, 4, 6, 8], (2, 1)))
                given = client.infer("net", {"x": ones, "w": ones[0], "scale": np.float32(3)})["y"]
                np.testing.assert_array_equal(given, np.full((2, 4), 6))


def test_samples_may_give_an_optional_input_or_leave_it_out(generate: Generate, workdir: Path) -> None:
    write_with_optional_inputs()
    Path("s").mkdir()
    np.savez("s/a.npz", x=np.ones((1, 4), "float32"))
    np.savez("s/b.npz", x=np.ones((1, 4), "float32"), w=np.ones(4, "float32"))
    found = verification_of(generate, "net", "--max-batch-size", "0", "--samples", "s")
    assert usual_cases(found) == 2 * 3 * FAMILIES + 2


def test_an_optional_input_without_a_fitting_generated_value_is_reported(generate: Generate, workdir: Path) -> None:
    write(
        "net.onnx",
        nodes=(helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),),
        inputs=(("x", FLOAT, [6]), ("shape", INT64, [2])),
        outputs=(("y", FLOAT, ["rows", "columns"]),),
        initializers=(onnx.numpy_helper.from_array(np.array([2, 3]), "shape"),),
    )
    assert (
        "no generated input with shape is answered: give some as --samples" in verification_of(generate, "net")["notes"]
    )
    np.savez("s.npz", x=np.ones(6, "float32"), shape=np.array([3, 2]))
    found = verification_of(generate, "net", "--samples", "s.npz")
    assert not any("no generated input" in note for note in found["notes"])


def test_a_model_of_lower_precision_has_no_optional_inputs(generate: Generate, workdir: Path) -> None:
    write_with_optional_inputs()
    outcome = generate("--model", "onnx:net.onnx", "--backends", "onnx,onnx:fp16", "--max-batch-size", "0", "--json")
    assert outcome.code == 0, outcome.err
    assert "onnx:fp16: w, scale can't be given: a backend supports optional inputs only in" in outcome.err
    assert [tensor.name for tensor in config_of("net_onnx").input] == ["x", "w", "scale"]
    assert [tensor.name for tensor in config_of("net_onnx_fp16").input] == ["x"]


def test_an_optional_input_of_a_type_that_triton_lacks_is_left_out(generate: Generate, workdir: Path) -> None:
    half = onnx.TensorProto(name="w", dims=[4], data_type=TensorProto.BFLOAT16, raw_data=bytes(8))
    write(
        "net.onnx",
        nodes=(helper.make_node("Cast", ["w"], ["c"], to=FLOAT), helper.make_node("Add", ["x", "c"], ["y"])),
        inputs=(onnx_files.ROWS, ("w", TensorProto.BFLOAT16, [4])),
        initializers=(half,),
    )
    notes = verification_of(generate, "net", "--max-batch-size", "0")["notes"]
    assert notes == ["left out: optional input 'w' is of type bfloat16, which can't be served"]
    assert [tensor.name for tensor in config_of("net").input] == ["x"]


def test_weights_that_an_exporter_lists_as_inputs_are_not_inputs(generate: Generate, workdir: Path) -> None:
    names = [f"w{number}" for number in range(20)]
    write(
        "net.onnx",
        nodes=(helper.make_node("Sum", ["x", *names], ["y"]),),
        inputs=(onnx_files.ROWS, *((name, FLOAT, [4]) for name in names)),
        initializers=[onnx.numpy_helper.from_array(np.ones(4, "float32"), name) for name in names],
    )
    found = verification_of(generate, "net", "--max-batch-size", "0")
    assert found["notes"] == ["20 initializers are listed as inputs, and treated as weights: w0, w1, w2, …"]
    assert [tensor.name for tensor in config_of("net").input] == ["x"]


def test_a_configuration_that_calls_a_required_input_optional_is_refused(generate: Generate, workdir: Path) -> None:
    write("net.onnx")
    Path("p.pbtxt").write_text('input { name: "x" optional: true }')
    outcome = generate("--model", "onnx:net.onnx", "--max-batch-size", "0", "--config-patch", "p.pbtxt")
    assert outcome.code == 2
    assert "says x is optional, but it is required" in outcome.err


# Quantized graphs, half precision, control flow: served as they are.


def body(name: str, *nodes: onnx.NodeProto, inputs: Sequence[Any] = (), outputs: Sequence[Any] = ()) -> Any:
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs))


def float_value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, None)


QUANTIZED = [
    onnx.numpy_helper.from_array(np.array(0.05, "float32"), "scale"),
    onnx.numpy_helper.from_array(np.array(128, "uint8"), "zero"),
    onnx.numpy_helper.from_array(np.arange(-8, 8, dtype="int8").reshape(4, 4), "w"),
    onnx.numpy_helper.from_array(np.array(0, "int8"), "w_zero"),
]
ROW, OUT = onnx_files.ROWS, onnx_files.ANSWERS
SERVED: dict[str, dict[str, Any]] = {
    "quantized around its layers": {
        "nodes": (
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "scale", "w_zero"], ["dw"]),
            helper.make_node("MatMul", ["d", "dw"], ["y"]),
        ),
        "initializers": QUANTIZED,
    },
    "quantized operators": {
        "nodes": (
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("QLinearMatMul", ["q", "scale", "zero", "w", "scale", "w_zero", "scale", "zero"], ["p"]),
            helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["y"]),
        ),
        "initializers": QUANTIZED,
    },
    "half precision": {
        "nodes": (helper.make_node("MatMul", ["x", "w"], ["y"]),),
        "inputs": (("x", TensorProto.FLOAT16, ["batch", 4]),),
        "outputs": (("y", TensorProto.FLOAT16, ["batch", 4]),),
        "initializers": [onnx.numpy_helper.from_array(np.eye(4, dtype="float16"), "w")],
    },
    "if": {
        "nodes": (
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"]),
            helper.make_node(
                "If",
                ["positive"],
                ["y"],
                then_branch=body("t", helper.make_node("Relu", ["x"], ["a"]), outputs=[float_value("a")]),
                else_branch=body("e", helper.make_node("Neg", ["x"], ["b"]), outputs=[float_value("b")]),
            ),
        ),
        "inputs": (("x", FLOAT, ["rows", 4]),),
        "outputs": (("y", FLOAT, ["rows", 4]),),
        "initializers": [onnx.numpy_helper.from_array(np.array(0, "float32"), "zero")],
    },
    "loop": {
        "nodes": (
            helper.make_node(
                "Loop",
                ["times", "", "x"],
                ["y"],
                body=body(
                    "l",
                    helper.make_node("Identity", ["go"], ["on"]),
                    helper.make_node("Add", ["before", "before"], ["after"]),
                    inputs=[
                        helper.make_tensor_value_info("i", INT64, []),
                        helper.make_tensor_value_info("go", BOOL, []),
                        float_value("before"),
                    ],
                    outputs=[helper.make_tensor_value_info("on", BOOL, []), float_value("after")],
                ),
            ),
        ),
        "inputs": (("x", FLOAT, [4]), ("times", INT64, [])),
        "outputs": (("y", FLOAT, [4]),),
    },
    "scan": {
        "nodes": (
            helper.make_node("ReduceSum", ["x", "first"], ["start"], keepdims=0),
            helper.make_node(
                "Scan",
                ["start", "x"],
                ["last", "y"],
                num_scan_inputs=1,
                body=body(
                    "s",
                    helper.make_node("Add", ["state", "row"], ["next"]),
                    helper.make_node("Identity", ["next"], ["out"]),
                    inputs=[float_value("state"), float_value("row")],
                    outputs=[float_value("next"), float_value("out")],
                ),
            ),
        ),
        "inputs": (("x", FLOAT, ["steps", 4]),),
        "outputs": (("y", FLOAT, ["steps", 4]),),
        "initializers": [onnx.numpy_helper.from_array(np.array([0]), "first")],
    },
}


@pytest.mark.parametrize("kind", SERVED)
def test_a_graph_of_every_kind_passes_through_the_server(generate: Generate, workdir: Path, kind: str) -> None:
    write("net.onnx", **SERVED[kind])
    found = verification_of(generate, "net", "--live-check", "require")
    assert (found["passed"], found["live"]["status"]) == (True, "passed")


@pytest.mark.parametrize(
    ("kind", "precision", "told"),
    [
        ("quantized around its layers", "fp16", "the model is quantized already (QuantizeLinear 'QuantizeLinear_0')"),
        ("quantized operators", "int8", "the model is quantized already (QuantizeLinear 'QuantizeLinear_0')"),
        ("half precision", "fp16", "the model has no FP32 weights: they are already FLOAT16"),
        ("half precision", "int8", "the weights of MatMul 'MatMul_0' are FLOAT16, but INT8 needs FP32 ones"),
    ],
)
def test_lowering_the_precision_twice_is_refused(
    generate: Generate, workdir: Path, kind: str, precision: str, told: str
) -> None:
    write("net.onnx", **SERVED[kind])
    before = snapshot(workdir)
    outcome = generate("--model", "onnx:net.onnx", "--backends", f"onnx:{precision}")
    assert outcome.code == 4
    assert told in outcome.err
    assert snapshot(workdir) == before


def test_an_output_without_a_declared_shape_gets_a_note(generate: Generate, workdir: Path) -> None:
    write(
        "net.onnx",
        nodes=(helper.make_node("Reshape", ["x", "shape"], ["y"]),),
        inputs=(("x", FLOAT, [4]), ("shape", INT64, ["rank"])),
        outputs=(("y", FLOAT, None),),
    )
    Path("s").mkdir()
    np.savez("s/a.npz", x=np.zeros(4, "float32"), shape=np.array([2, 2]))
    found = verification_of(generate, "net", "--samples", "s")
    assert "output 'y' declares no shape: its configuration says [ 1 ], as Triton requires" in found["notes"]
    assert list(config_of("net").output[0].dims) == [1]


# What is asked.


def test_samples_are_asked_whole_if_there_is_no_batch_dimension(generate: Generate, workdir: Path) -> None:
    write(
        "net.onnx",
        nodes=(helper.make_node("Gather", ["x", "places"], ["y"]),),
        inputs=(("x", FLOAT, ["rows", 4]), ("places", INT64, ["count"])),
        outputs=(("y", FLOAT, ["count", 4]),),
    )
    Path("s").mkdir()
    np.savez("s/a.npz", x=np.ones((9, 4), "float32"), places=np.array([8, 0]))
    np.savez("s/none.npz", x=np.ones((9, 4), "float32"), places=np.array([], "int64"))
    found = verification_of(generate, "net", "--samples", "s")
    # With one row, place 1 does not exist; with two and three rows every place that is generated does.
    assert "generated inputs are left out; the source model fails on x[1, 4]" in found["notes"][0]
    assert 2 * FAMILIES + 2 < usual_cases(found) < 3 * FAMILIES + 2


def test_text_truth_values_and_half_precision_are_asked(generate: Generate, workdir: Path) -> None:
    shape = ["batch", "length"]
    for name, kind in (("text", STRING), ("truth", BOOL), ("half", TensorProto.FLOAT16), ("byte", TensorProto.UINT8)):
        identity = helper.make_node("Identity", ["x"], ["y"])
        write(f"{name}.onnx", nodes=(identity,), inputs=(("x", kind, shape),), outputs=(("y", kind, shape),))
        found = verification_of(generate, name, "--max-batch-size", "4")
        assert (found["batch_invariant"], found["max_batch_size"]) == (True, 4)
        assert usual_cases(found) == 3 * 4 * FAMILIES  # lengths, batch sizes


def test_text_samples_of_the_user_are_asked(generate: Generate, workdir: Path) -> None:
    twice = helper.make_node("StringConcat", ["x", "x"], ["y"])
    write("net.onnx", nodes=(twice,), inputs=(("x", STRING, ["words"]),), outputs=(("y", STRING, ["texts"]),))
    np.savez("good.npz", x=np.array(["grün", ""]))
    assert verification_of(generate, "net", "--samples", "good.npz")["passed"]
    np.savez("numbers.npz", x=np.array([1.0]))
    assert generate("--model", "onnx:net.onnx", "--samples", "numbers.npz").code == 2


def test_inputs_that_are_answered_with_nan_are_left_out_and_counted(generate: Generate, workdir: Path) -> None:
    nodes = helper.make_node("Neg", ["x"], ["below"]), helper.make_node("Sqrt", ["below"], ["y"])
    write("net.onnx", nodes=nodes)
    found = verification_of(generate, "net", "--max-batch-size", "1")
    answered = usual_cases(found)  # the zeros, and hardly more
    assert 0 < answered < FAMILIES / 2
    (note,) = found["notes"]
    left_out = f"{FAMILIES - answered} of {FAMILIES} generated inputs are left out; the source model itself"
    assert note.startswith(left_out)


def test_numbers_of_a_logarithm_are_above_zero(generate: Generate, workdir: Path) -> None:
    write("net.onnx", nodes=(helper.make_node("Log", ["x"], ["y"]),))
    found = verification_of(generate, "net", "--max-batch-size", "1")
    assert (usual_cases(found), found["notes"]) == (FAMILIES, [])


def test_nan_is_accepted_for_a_sample_of_the_user(generate: Generate, workdir: Path) -> None:
    write("net.onnx", nodes=(helper.make_node("Log", ["x"], ["y"]),))
    np.save("s.npy", np.array([[-1, 1, np.nan, 2]], "float32"))
    found = verification_of(generate, "net", "--samples", "s.npy", "--max-batch-size", "1")
    assert usual_cases(found) == FAMILIES + 1


SPEC = TensorSpec("x", "float32", ("rows", 2), Domain(known=False))
WHOLE = Signature((SPEC,), (TensorSpec("y", "float32", ("kept", 2)),))


@pytest.mark.parametrize("place", [0, 1])
def test_nan_passes_only_where_the_source_has_it(place: int) -> None:
    sample = inputs.Pool({"x": np.full((1, 1, 2), 7, "float32")}, ("sample",))

    def with_nan_at(place: int) -> verify.Run:
        def run(arrays: Arrays) -> dict[str, Any]:
            answer = arrays["x"].copy()
            if answer[0, 0] == 7:
                answer[0, place] = np.nan
            return {"y": answer}

        return run

    def compare() -> Any:
        return verify.verify(with_nan_at(1), with_nan_at(place), WHOLE, max_batch_size=1, seed=0, samples=(sample,))

    if place == 1:
        assert compare().passed
    else:
        with pytest.raises(VerificationError, match=r"differs by inf .* on input 'sample'"):
            compare()


BATCHED = Signature(
    (TensorSpec("x", "float32", ("batch", 4), Domain(known=False)),), (TensorSpec("y", "float32", ("batch", 4)),)
)


def sums_up(arrays: Arrays) -> dict[str, Any]:
    return {"y": arrays["x"].sum(axis=0, keepdims=True)}


def doubles(arrays: Arrays) -> dict[str, Any]:
    return {"y": np.tile(arrays["x"], (2, 1))}


def takes_one(arrays: Arrays) -> dict[str, Any]:
    if len(arrays["x"]) > 1:
        raise InputRefused(f"the source model fails on x{list(arrays['x'].shape)}")
    return {"y": arrays["x"]}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (sums_up, "samples are asked one by one: output 'y' does not keep the batch's size"),
        (doubles, "samples are asked one by one: output 'y' does not keep the batch's size"),
        (takes_one, "samples are asked one by one; the source model fails on x[4, 4]"),
    ],
)
def test_a_model_without_a_real_batch_dimension_is_asked_one_by_one(source: verify.Run, reason: str) -> None:
    found = verify.verify(source, source, BATCHED, max_batch_size=4, seed=0)
    assert (found.passed, found.batch_invariant, found.mixing) == (True, False, ("y",))
    assert (found.cases, found.notes[-1]) == (FAMILIES, reason)
    with pytest.raises(VerificationError, match="has shape"):
        verify.verify(source, lambda arrays: {"y": arrays["x"][:, :2]}, BATCHED, max_batch_size=4, seed=0)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("RandomNormalLike", ["x"], ["y"]),
        helper.make_node("RandomUniformLike", ["x"], ["y"], seed=3.0),
    ],
)
def test_a_model_that_draws_random_numbers_is_refused(generate: Generate, workdir: Path, node: onnx.NodeProto) -> None:
    write("net.onnx", nodes=(node,))
    outcome = generate("--model", "onnx:net.onnx")
    assert outcome.code == 5
    assert "answers the same input differently each time, in output 'y'" in outcome.err
    assert not Path("model_repository/net").exists()


def test_a_sample_that_the_model_refuses_is_named() -> None:
    samples = inputs.Pool({"x": np.full((2, 4), 7, "float32")}, ("sample a.npz", "sample b.npz"))

    def picky(arrays: Arrays) -> dict[str, Any]:
        if (arrays["x"] == 7).any():
            raise InputRefused("the source model fails on x[1, 4]: no sevens")
        return {"y": arrays["x"]}

    with pytest.raises(VerificationError, match=r"no sevens, on input 'sample a\.npz'"):
        verify.verify(picky, picky, BATCHED, max_batch_size=4, seed=0, samples=(samples,))


# Bad input.


def tensor(name: str, kind: int, shape: list[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [4] if shape is None else shape)


def identity(kind: int, shape: list[int | str] | None = None) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = onnx_files.model(nodes=(node,), inputs=(tensor("x", kind, shape),), outputs=(tensor("y", kind, shape),))
    return model.SerializeToString()


def of_type(type_proto: onnx.TypeProto) -> bytes:
    value = helper.make_value_info("x", type_proto)
    answer = helper.make_value_info("y", type_proto)
    node = helper.make_node("Identity", ["x"], ["y"])
    return onnx_files.model(nodes=(node,), inputs=(value,), outputs=(answer,)).SerializeToString()


GOOD = onnx_files.model().SerializeToString()
NUMBERS = helper.make_tensor_type_proto(FLOAT, [4])
ONE = helper.make_node("Constant", [], ["y"], value_floats=[1.0])
FAILING = onnx_files.model(
    nodes=(
        helper.make_node("Concat", ["x", "w"], ["both"], axis=0),
        helper.make_node("Cast", ["both"], ["y"], to=FLOAT),
    ),
    inputs=(("x", STRING, [1]),),
    outputs=(("y", FLOAT, [2]),),
    initializers=(onnx.numpy_helper.from_array(np.array(["word"], object), "w"),),
)
LEARNT = [onnx.numpy_helper.from_array(np.ones(4, "float32"), name) for name in "abcd"]
NORMALISED = ["x", "a", "b", "c", "d"]
TRUE = onnx.numpy_helper.from_array(np.array(True), "training")
NORMALISING = helper.make_node("BatchNormalization", NORMALISED, ["y", "m", "v"], "norm", training_mode=1)
DROPPING = helper.make_node("Dropout", ["x", "", "training"], ["y"], "drop")
ZIP_MAP = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
ZIPPED = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None)))
ZIP_MAPPED = onnx_files.model(nodes=(ZIP_MAP,), outputs=(helper.make_value_info("y", ZIPPED),))
ZIP_MAPPED.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
CUSTOM = [helper.make_node(name, ["x"], [name], domain="com.acme") for name in ("Snap", "Crackle")]
UNHEARD_OF = onnx_files.model()
UNHEARD_OF.graph.input[0].type.tensor_type.elem_type = 77
CIRCLE = (helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]))
# name of the golden message: what net.onnx holds (None: it is not there), further arguments, the exit code.
CASES: dict[str, tuple[bytes | None, str, int]] = {
    "missing": (None, "", 3),
    "empty": (b"", "", 3),
    "text": (b"ir_version: 8", "", 3),
    "truncated": (GOOD[: len(GOOD) // 2], "", 3),
    "no-graph": (onnx.ModelProto(ir_version=8).SerializeToString(), "", 3),
    "data-missing": (onnx_files.with_external_data("w.bin").SerializeToString(), "", 3),
    "data-escapes": (onnx_files.with_external_data("../w.bin").SerializeToString(), "", 3),
    "data-absolute": (onnx_files.with_external_data("/etc/hostname").SerializeToString(), "", 3),
    "data-link": (onnx_files.with_external_data("link.bin").SerializeToString(), "", 3),
    "data-name-too-long": (onnx_files.with_external_data("w" * 300).SerializeToString(), "", 3),
    "data-too-short": (onnx_files.with_external_data("short.bin").SerializeToString(), "", 4),
    "no-inputs": (
        onnx_files.model(nodes=(ONE,), inputs=(), outputs=(("y", FLOAT, [1]),)).SerializeToString(),
        "",
        3,
    ),
    "sequence": (of_type(helper.make_sequence_type_proto(NUMBERS)), "", 4),
    "optional": (of_type(helper.make_optional_type_proto(NUMBERS)), "", 4),
    "map": (of_type(helper.make_map_type_proto(INT64, NUMBERS)), "", 4),
    "sparse": (of_type(helper.make_sparse_tensor_type_proto(FLOAT, [4])), "", 4),
    "complex": (identity(TensorProto.COMPLEX64), "", 4),
    "float8": (identity(TensorProto.FLOAT8E4M3FN), "", 4),
    "int4": (identity(TensorProto.INT4), "", 4),
    "bfloat16": (identity(TensorProto.BFLOAT16), "", 4),
    "type-of-the-future": (UNHEARD_OF.SerializeToString(), "", 4),
    "zero-dimension": (identity(FLOAT, ["batch", 0]), "", 4),
    "training-normalisation": (
        onnx_files.model(nodes=(NORMALISING,), initializers=LEARNT).SerializeToString(),
        "",
        3,
    ),
    "training-dropout": (onnx_files.model(nodes=(DROPPING,), initializers=(TRUE,)).SerializeToString(), "", 3),
    "same-inputs": (onnx_files.model(inputs=(onnx_files.ROWS,) * 2).SerializeToString(), "", 3),
    "same-outputs": (onnx_files.model(outputs=(onnx_files.ANSWERS,) * 2).SerializeToString(), "", 3),
    "circle": (
        onnx_files.model(nodes=(*CIRCLE, helper.make_node("Relu", ["b"], ["y"]))).SerializeToString(),
        "",
        4,
    ),
    "renamed": (b"PK\x03\x04" + bytes(100), "", 3),
    "zip-map": (ZIP_MAPPED.SerializeToString(), "", 4),
    "unknown-domain": (
        onnx_files.model(nodes=(*CUSTOM, helper.make_node("Add", ["Snap", "Crackle"], ["y"]))).SerializeToString(),
        "",
        4,
    ),
    "unknown-operator": (
        onnx_files.model(nodes=(helper.make_node("Snap", ["x"], ["y"]),)).SerializeToString(),
        "",
        4,
    ),
    "opset": (onnx_files.model(opset=22).SerializeToString(), "--target-release 24.10", 4),
    "ir": (onnx_files.model(ir_version=11).SerializeToString(), "--target-release 24.10", 4),
    "weights": (GOOD, "--weights random", 2),
    "input-shape": (GOOD, "--input-shape 4", 2),
    "answers-nothing": (FAILING.SerializeToString(), "", 5),
}


def refused(generate: Generate, workdir: Path, golden: Callable[[str, str], None], case: str, *arguments: str) -> int:
    before = snapshot(workdir)
    outcome = generate(*arguments, "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert snapshot(workdir) == before
    golden(f"messages/onnx/{case}.txt", outcome.err.replace(str(workdir), "/work"))
    return outcome.code


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_gets_one_line_and_changes_nothing(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None], case: str
) -> None:
    content, arguments, code = CASES[case]
    (workdir / "link.bin").symlink_to("/etc/hostname")
    (workdir / "short.bin").write_bytes(b"1234")
    if content is not None:
        (workdir / "net.onnx").write_bytes(content)
    assert refused(generate, workdir, golden, case, "--model", "onnx:net.onnx", *arguments.split()) == code


def test_a_file_that_declares_an_input_larger_than_the_memory_is_refused(generate: Generate, workdir: Path) -> None:
    (workdir / "net.onnx").write_bytes(identity(FLOAT, [1, 2**40]))
    for further in ((), ("--make-batch-dynamic",)):
        outcome = generate("--model", "onnx:net.onnx", "-q", *further)
        assert (outcome.code, outcome.err.count("\n")) == (3, 1)
        assert outcome.err.startswith("error: one request's 'x' takes 4398.0 GB, and ")


@pytest.mark.parametrize("scheme", ["onnx", "keras", "savedmodel", "tflite", "sklearn"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("n" * 300 + ".onnx", "File name too long"),
        ("~nobody-here/net.onnx", "there is no file ~nobody-here/net.onnx"),
        ("link.onnx", "link.onnx is a link to nowhere, which does not exist"),
    ],
)
def test_a_path_to_nothing_is_reported(generate: Generate, workdir: Path, scheme: str, name: str, told: str) -> None:
    (workdir / "link.onnx").symlink_to("nowhere")
    outcome = generate("--model", f"{scheme}:{name}", "-q", "--json")
    assert (outcome.code, outcome.err.count("\n"), told in outcome.err) == (3, 1, True), outcome.err
    assert "error" in outcome.report["results"][0]


def test_a_pipe_is_refused(generate: Generate, workdir: Path) -> None:
    os.mkfifo("net.onnx")
    outcome = generate("--model", "onnx:net.onnx", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)


def test_a_folder_is_refused(generate: Generate, workdir: Path, golden: Callable[[str, str], None]) -> None:
    (workdir / "net").mkdir()
    assert refused(generate, workdir, golden, "folder", "--model", "onnx:net") == 3


def test_a_stem_that_is_not_a_valid_name_is_refused(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    write("my net.onnx")
    assert refused(generate, workdir, golden, "name", "--model", "onnx:my net.onnx") == 2


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    text = Signature((TensorSpec("x", "object", (1,), Domain(known=False)),), (TensorSpec("y", "object", (1,)),))
    np.savez(tmp_path / "s.npz", x=np.array([b"\xff"]))
    with pytest.raises(OptionError, match="contains text that is not UTF-8"):
        datasets.samples(tmp_path / "s.npz", text)
