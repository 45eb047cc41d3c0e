"""ONNX files written without copies of the weights are the same as those that onnx writes."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.specs.tensors import TensorSpec


def model() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {
        "float32": random.standard_normal((64, 64)).astype("float32"),
        "float16": random.standard_normal((64, 64)).astype("float16"),
        "int8": random.integers(-128, 127, (64, 64)).astype("int8"),
        "int64": random.integers(-9, 9, 200),
        "bool": random.integers(0, 2, (50, 40)).astype(bool),
        "small": np.ones(3, "float32"),
        "scalar": np.array(2.5, "float32"),
        "strings": np.array(["a", "ü"], dtype=object),
    }
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "float32"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    proto.metadata_props.add(key="made", value="by hand")
    return proto


def arrays(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("limit", [onnx_file.PROTOBUF_LIMIT, 0])
def test_the_written_file_holds_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(onnx_file, "PROTOBUF_LIMIT", limit)
    wanted = model()
    files = onnx_file.write(onnx_ir.from_proto(wanted), tmp_path / "model.onnx")
    assert [file.name for file in files] == (["model.onnx"] if limit else ["model.onnx", "model.onnx.data"])
    assert sorted(tmp_path.iterdir()) == sorted(files)
    onnx.checker.check_model(str(files[0]), full_check=True)
    written = arrays(files[0])
    assert written.keys() == {tensor.name for tensor in wanted.graph.initializer}
    for tensor in wanted.graph.initializer:
        np.testing.assert_array_equal(written[tensor.name], numpy_helper.to_array(tensor))
    loaded = onnx.load(files[0])
    assert loaded.graph.node == wanted.graph.node
    assert (loaded.metadata_props[0].key, loaded.ir_version) == ("made", 10)


def test_the_model_in_memory_stays_whole(tmp_path: Path) -> None:
    whole = onnx_ir.from_proto(model())
    onnx_file.write(whole, tmp_path / "a.onnx")
    onnx_file.write(whole, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
def test_varints_are_encoded_as_in_protobuf(number: int) -> None:
    written = onnx.TensorProto(int64_data=[number]).SerializeToString()
    assert written.endswith(onnx_file._varint(number))


def test_the_signature_is_what_the_graph_declares() -> None:
    signature = onnx_file.read_signature(model().graph)
    assert signature.inputs == (TensorSpec("x", "float32", ("batch", 64)),)
    assert signature.batch_dim == "batch"
    assert signature.unbatched == ()


def test_dimensions_without_a_name_get_different_names() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "ab"]
    signature = onnx_file.read_signature(helper.make_graph([], "g", values[:1], values[1:]))
    assert signature.batch_dim is None
    assert [spec.name for spec in signature.unbatched] == ["b"]
