"""ONNX files: valid or not and why, what they take and give, their weights, and what could serve them."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.inspection.inspect import inspect as inspect_any
from modelrepo.generator.inspection.inspection import Inspection, Tensor
from modelrepo.generator.inspection.onnx_model import inspect
from modelrepo.generator.inspection.page import page
from tests import onnx_files
from tests.generator.lint.mutations import mutated

W = numpy_helper.from_array(np.ones((4, 4), np.float32), "net.fc.weight")
LINEAR = helper.make_node("MatMul", ["x", "net.fc.weight"], ["y"], name="product")


def written(model: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def inspected(folder: Path, **parts: Any) -> Inspection:
    return inspect(written(onnx_files.model(**parts), folder))


def loads(path: Path) -> bool:
    """Whether ONNX Runtime loads a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def verdicts(found: Inspection, target: str) -> dict[str, str]:
    return {release: use.verdict for use in found.uses if use.target == target for release in use.releases}


# What the file says.


def test_a_model_is_described(tmp_path: Path) -> None:
    model = onnx_files.model(nodes=(LINEAR,), initializers=(W,))
    model.producer_name, model.producer_version, model.doc_string = "pytorch", "2.14", "A layer."
    model.metadata_props.add(key="names", value="['cat', 'dog']")
    found = inspect(written(model, tmp_path))
    assert (found.valid, found.format) == (True, "ONNX")
    facts = dict(found.facts)
    assert facts["producer"] == "pytorch 2.14"
    assert facts["opset"] == "20"
    assert facts["IR version"] == "10"
    assert facts["description"] == "A layer."
    assert facts["classes"] == "2 (names): cat, dog"
    assert found.inputs == (Tensor("x", "FP32", ("batch", 4)),)
    assert found.outputs == (Tensor("y", "FP32", ("batch", 4)),)
    assert found.operators == {"MatMul": 1}
    assert found.files == {"net.onnx": found.bytes}
    (weight,) = found.weights
    assert (weight.layer, weight.data_type, weight.parameters, weight.bytes) == ("net.fc", "FP32", 16, 64)
    (node,) = found.nodes
    assert (node.operator, node.inputs, node.weights, node.shapes) == (
        "MatMul",
        ("x",),
        ("net.fc.weight",),
        (("batch", 4),),
    )


def test_shared_and_unused_weights_are_found(tmp_path: Path) -> None:
    other = numpy_helper.from_array(np.ones(100, np.float16), "lost")
    nodes = (
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "w"], ["y"], name="second"),
    )
    shared = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    found = inspected(tmp_path, nodes=nodes, initializers=(shared, other))
    by_name = {weight.name: weight for weight in found.weights}
    assert (by_name["w"].shared_by, by_name["w"].layer) == (2, "first")
    assert (by_name["lost"].shared_by, by_name["lost"].bytes, by_name["lost"].data_type) == (0, 200, "FP16")
    assert found.remarks == ("weights that no node uses take 200 bytes: lost",)


def test_packed_weights_count_their_bits(tmp_path: Path) -> None:
    packed = helper.make_tensor("w", TensorProto.INT4, [5], [1, 2, 3, 4, 5])
    nodes = (onnx_files.RELU, helper.make_node("Identity", ["w"], ["z"]))
    outputs = (onnx_files.ANSWERS, ("z", TensorProto.INT4, [5]))
    (weight,) = inspected(tmp_path, nodes=nodes, outputs=outputs, initializers=(packed,), opset=21).weights
    assert (weight.data_type, weight.parameters, weight.bytes) == ("int4", 5, 3)


def test_graphs_within_nodes_and_functions_are_seen(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"], name="inner")], "g", [], [helper.make_empty_tensor_value_info("b")]
    )
    nodes = (
        helper.make_node("If", ["c"], ["h"], name="choice", then_branch=branch, else_branch=branch),
        helper.make_node("Twice", ["h"], ["y"], domain="mine"),
    )
    model = onnx_files.model(nodes=nodes, inputs=(onnx_files.ROWS, ("c", TensorProto.BOOL, [])))
    body = [helper.make_node("Add", ["a", "a"], ["r"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["r"], body, model.opset_import))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    found = inspect(written(model, tmp_path))
    assert not found.faults
    assert dict(found.facts)["graphs within"] == "2 in If"
    assert dict(found.facts)["functions"] == "mine.Twice"
    assert found.operators == {"Relu": 2, "Add": 1, "If": 1, "mine.Twice": 1}
    assert [(node.operator, node.level) for node in found.nodes] == [
        ("If", 0),
        ("Relu", 1),
        ("Relu", 1),
        ("mine.Twice", 0),
    ]


def test_an_input_with_a_value_of_its_own_is_optional(tmp_path: Path) -> None:
    scale = numpy_helper.from_array(np.ones(4, np.float32), "scale")
    nodes = (helper.make_node("Mul", ["x", "scale"], ["y"]),)
    inputs = (onnx_files.ROWS, ("scale", TensorProto.FLOAT, [4]))
    found = inspected(tmp_path, nodes=nodes, inputs=inputs, initializers=(scale,))
    assert [(each.name, each.optional) for each in found.inputs] == [("x", False), ("scale", True)]
    assert found.batching
    assert found.batching.verdict == "yes"


# Valid or not: ONNX Runtime says the same.

LONG = numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
WHOLE = numpy_helper.from_array(np.ones(4, np.int64), "w")
CUT = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(12))
TWICE = (onnx_files.RELU, helper.make_node("Abs", ["x"], ["y"]))


def one(operator: str, *inputs: str, output: str = "y", **attributes: Any) -> dict[str, Any]:
    """Return the parts of a model of one node."""
    return {"nodes": (helper.make_node(operator, list(inputs or "x"), [output], **attributes),)}


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        (one("Add", "x", "lost", name="a"), "Add 'a' reads 'lost', which nothing makes"),
        (one("Relu", output="z"), "nothing makes the output 'y'"),
        ({"nodes": TWICE}, "'y' is made twice, the second time by Abs 'y'"),
        ({**one("Gelu"), "opset": 17}, "opset 17 has no operator Gelu, which came with 20"),
        (one("Frob"), "there is no operator Frob in ONNX"),
        (one("Frob", domain="d"), "it has Frob of 'd', and imports no operator set of it"),
        ({"opset": 99}, "its opset is 99, and the newest that is known is "),
        ({"ir_version": 99}, "its IR version is 99, and the newest that is known is "),
        (one("Relu", "x", "x"), "Relu 'y': Node"),
        (one("Relu", kind=3), "Relu 'y': Unrecognized attribute: kind"),
        ({**one("Add", "x", "w"), "initializers": (CUT,)}, "the weights 'w' have 12 bytes, and their shape needs 16"),
        (one("Cast"), "Cast 'y': Required attribute 'to' is missing"),
        ({**one("MatMul", "x", "w"), "initializers": (LONG,)}, "MatMul: "),
        ({**one("Add", "x", "w", name="a"), "initializers": (WHOLE,)}, "Add 'a': B has inconsistent type"),
        ({**one("Conv", "x", "w", name="c"), "initializers": (LONG,)}, "Conv 'c': Input tensor must have"),
    ],
)
def test_what_is_not_valid_is_said_and_onnx_runtime_refuses_it(
    tmp_path: Path, parts: dict[str, Any], fault: str
) -> None:
    path = written(onnx_files.model(**parts), tmp_path)
    found = inspect(path)
    assert found.faults
    assert found.faults[0].startswith(fault)
    assert not loads(path)
    assert set(verdicts(found, "onnxruntime").values()) == {"no"}


def test_a_declared_shape_that_is_wrong_is_no_fault_since_onnx_runtime_warns_only(tmp_path: Path) -> None:
    path = written(onnx_files.model(outputs=(("y", TensorProto.FLOAT, ["batch", 5, 1]),)), tmp_path)
    assert not inspect(path).faults
    assert loads(path)


def test_nodes_in_the_wrong_order_are_a_remark_since_onnx_runtime_sorts_them(tmp_path: Path) -> None:
    nodes = (helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Abs", ["x"], ["h"]))
    path = written(onnx_files.model(nodes=nodes), tmp_path)
    found = inspect(path)
    assert not found.faults
    assert "its nodes are not in the order of their execution" in found.remarks[0]
    assert loads(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "it is empty"), (b"\x08\x0a", "it has no graph"), (b"not a model", "it is not an ONNX model")],
)
def test_a_file_that_is_none_has_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert inspect(path).faults[0].startswith(fault)


def test_external_data_is_looked_for(tmp_path: Path) -> None:
    model = onnx_files.with_external_data("net.data")
    path = written(model, tmp_path)
    assert inspect(path).faults[0].startswith("net.onnx has the weights w in net.data, which is not there")
    (tmp_path / "net.data").write_bytes(b"1234")
    assert inspect(path).faults[0].startswith("net.data has 4 bytes, and the weights w end at byte 16")
    (tmp_path / "net.data").write_bytes(bytes(16))
    found = inspect(path)
    assert not found.faults
    assert found.files["net.data"] == 16
    assert found.weights[0].external == "net.data"


def test_no_backend_serves_a_model_without_its_weights(tmp_path: Path) -> None:
    found = inspect(written(onnx_files.with_external_data("gone.data"), tmp_path))
    assert {(use.target, use.verdict) for use in found.uses} == {
        (target, "no") for target in ("onnxruntime", "tensorrt", "openvino")
    }
    assert all("in gone.data, which is not there" in use.reason for use in found.uses)


def test_external_data_outside_is_refused_by_newer_releases_only(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(bytes(16))
    (tmp_path / "in").mkdir()
    found = inspect(written(onnx_files.with_external_data("../w.data"), tmp_path / "in"))
    assert "External data path escapes model directory" in found.faults[0]
    served = verdicts(found, "onnxruntime")
    assert (served["26.01"], served["26.02"]) == ("yes", "no")


def test_a_file_of_gigabytes_is_read_at_once(tmp_path: Path) -> None:
    model = onnx_files.with_external_data("net.data")
    model.graph.initializer[0].dims[:] = [3 << 28, 1]
    with (tmp_path / "net.data").open("wb") as file:
        file.truncate(3 << 30)  # sparse: it takes no room
    path, start = written(model, tmp_path), time.process_time()
    found = inspect(path)
    assert time.process_time() - start < 2
    assert not found.faults
    assert found.weights[0].bytes == 3 << 30


def test_damaged_files_never_raise(tmp_path: Path) -> None:
    path = written(onnx_files.model(nodes=(LINEAR,), initializers=(W,)), tmp_path)
    content, chance = path.read_bytes(), random.Random(11)
    faulty = 0
    for _ in range(300):
        path.write_bytes(chance.choice((content[: chance.randrange(len(content))], mutated(content, chance))))
        faulty += not inspect(path).valid
    assert faulty > 100


def with_weights(**fields: Any) -> onnx.ModelProto:
    return onnx_files.model(**one("Add", "x", "w"), initializers=(TensorProto(name="w", **fields),))


def calling_itself() -> onnx.ModelProto:
    model = onnx_files.model(**one("F", domain="d"))
    model.opset_import.append(helper.make_opsetid("d", 1))
    body = [helper.make_node("F", ["a"], ["b"], domain="d")]
    model.functions.append(helper.make_function("d", "F", ["a"], ["b"], body, model.opset_import))
    return model


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (with_weights(data_type=1, dims=[2**62] * 3), "the weights 'w' have 0 bytes"),
        (with_weights(data_type=1, dims=[-5]), "the weights 'w' have a negative size"),
        (with_weights(data_type=99, dims=[4]), ""),
        (calling_itself(), ""),
        (onnx_files.with_external_data(""), "the weights w name no file"),
        (onnx_files.with_external_data("net.onnx"), ""),
        (onnx_files.with_external_data("n" * 5000), "net.onnx has the weights w in nnn"),
        (onnx_files.model().SerializeToString().replace(b"Relu", b"R\xff\xfeu"), "there is no operator R"),
        (onnx_files.model().SerializeToString().replace(b"batch", b"b\xff\xfech"), "it can't be read"),
    ],
    ids=range(9),
)
def test_strange_files_are_read(tmp_path: Path, content: Any, fault: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    found = inspect_any(path)
    assert "".join(found.faults[:1]).startswith(fault)
    assert all(len(each) < 600 for each in found.faults)
    assert page(found)


def test_onnx_runtimes_own_format_is_known(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "net.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    model = onnx_files.model().SerializeToString()
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = inspect(tmp_path / "net.ort")
    assert (found.valid, found.format) == (True, "ONNX Runtime's own format")
    assert dict(found.facts)["format version"].isdigit()


# What could serve it.


def test_each_release_is_judged_by_its_onnx_runtime(tmp_path: Path) -> None:
    served = verdicts(inspected(tmp_path, opset=24), "onnxruntime")
    assert (served["24.10"], served["25.12"], served["26.02"], served["26.11"]) == ("no", "no", "yes", "yes")
    newest = verdicts(inspected(tmp_path, opset=27), "onnxruntime")
    assert (newest["26.09"], newest["26.11"]) == ("no", "unknown")


@pytest.mark.parametrize(
    ("kind", "opset", "old", "new"),
    [("Relu", 20, "yes", "yes"), ("Unique", 20, "no", "unknown"), ("HannWindow", 20, "unknown", "yes")],
)
def test_tensorrt_is_judged_by_the_list_of_its_parser(
    tmp_path: Path, kind: str, opset: int, old: str, new: str
) -> None:
    node = helper.make_node(kind, ["x"], ["y"])
    served = verdicts(inspected(tmp_path, nodes=(node,), opset=opset), "tensorrt")
    assert (served["24.10"], served["26.08"]) == (old, new)


def test_types_that_a_backend_lacks_are_named(tmp_path: Path) -> None:
    values: Sequence[onnx_files.Declared] = (("s", TensorProto.STRING, ["n"]),)
    node = helper.make_node("Identity", ["s"], ["t"])
    found = inspected(tmp_path, nodes=(node,), inputs=values, outputs=(("t", TensorProto.STRING, ["n"]),))
    assert set(verdicts(found, "onnxruntime").values()) == {"yes"}
    for target in ("tensorrt", "openvino"):
        assert set(verdicts(found, target).values()) == {"no"}
        assert "'s'" in next(use.reason for use in found.uses if use.target == target)


def test_bf16_needs_a_newer_backend(tmp_path: Path) -> None:
    inputs = (("x", TensorProto.BFLOAT16, ["n", 2]),)
    found = inspected(tmp_path, inputs=inputs, outputs=(("y", TensorProto.BFLOAT16, ["n", 2]),))
    served = verdicts(found, "onnxruntime")
    assert (served["26.02"], served["26.03"]) == ("no", "yes")


def test_operators_of_a_library_are_named(tmp_path: Path) -> None:
    model = onnx_files.model(nodes=(helper.make_node("Reflect", ["x"], ["y"], domain="our.own"),))
    model.opset_import.append(helper.make_opsetid("our.own", 1))
    found = inspect(written(model, tmp_path))
    assert not found.faults
    assert found.operators == {"our.own.Reflect": 1}
    assert set(verdicts(found, "onnxruntime").values()) == {"unknown"}
    assert "our.own.Reflect" in found.uses[0].reason
