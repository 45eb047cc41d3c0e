"""An ONNX file is read without its weights, which stay in the file."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from modelrepo.generator.graphs import outline, runtime

FLOAT = onnx.TensorProto.FLOAT


def save_model(path: Path, size: int = 40, data: str = "raw") -> onnx.ModelProto:
    """Save y = If(true, x @ weight, x) + bias + shape[0], with initializers of all kinds."""
    random = np.random.default_rng(0)
    weight = random.random((size, size), "float32")
    bias = random.random(size, "float32")
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["product"])],
        "then",
        [],
        [helper.make_tensor_value_info("product", FLOAT, None)],
    )
    otherwise = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])],
        "else",
        [],
        [helper.make_tensor_value_info("same", FLOAT, None)],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["chosen"], then_branch=then, else_branch=otherwise),
        helper.make_node("Add", ["chosen", "bias"], ["moved"]),
        helper.make_node("Add", ["moved", "list"], ["y"]),
    ]
    values = {"weight": weight, "bias": bias, "yes": np.array(True)}
    initializers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    initializers.append(helper.make_tensor("list", FLOAT, [size], random.random(size).tolist()))
    if data == "list":
        initializers[0] = helper.make_tensor("weight", FLOAT, [size, size], weight.ravel().tolist())
    declared = (helper.make_tensor_value_info(name, FLOAT, ["n", size]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [next(declared)], [next(declared)], initializers, doc_string="before")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="é")
    helper.set_model_props(model, {"key": "value"})
    onnx.save(model, path)
    return model


@pytest.mark.parametrize("data", ["raw", "list"])
def test_an_outline_with_its_weights_is_the_model(data: str, tmp_path: Path) -> None:
    path = tmp_path / "odd name.onnx"
    model = save_model(path, data=data)
    read = outline.read(path)
    left = [tensor.name for tensor in read.graph.initializer if outline.in_own_file(tensor, path)]
    assert left == (["weight"] if data == "raw" else [])
    onnx.load_external_data_for_model(read, str(tmp_path))
    for found in (read, model):
        found.graph.initializer.sort(key=lambda tensor: tensor.name)
    arrays = [[numpy_helper.to_array(tensor) for tensor in found.graph.initializer] for found in (read, model)]
    assert all(map(np.array_equal, *arrays))
    for found in (read, model):
        del found.graph.initializer[:]
    assert read == model


def test_no_weights_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_model(path, size=2000)
    tracemalloc.start()
    try:
        outline.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20 < path.stat().st_size


def test_an_outline_can_be_checked_and_opened_beside_its_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_model(path)
    beside = tmp_path / "outline.onnx"
    beside.write_bytes(outline.read(path).SerializeToString())
    assert beside.stat().st_size < path.stat().st_size / 2
    onnx.checker.check_model(str(beside))
    asked = {"x": np.random.default_rng(1).random((3, 40), "float32")}
    np.testing.assert_array_equal(*(runtime.open_session(file).run(None, asked) for file in (path, beside)))


def refuses(path: Path) -> tuple[bool, bool]:
    """Return whether onnx refuses a file, and whether we do."""
    refused = []
    for read in (lambda: onnx.ModelProto.FromString(path.read_bytes()), lambda: outline.read(path)):
        try:
            read()
        except DecodeError:
            refused.append(True)
        else:
            refused.append(False)
    return refused[0], refused[1]


def test_damaged_files_are_refused_if_onnx_refuses_them(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_model(path)
    content = path.read_bytes()
    found = []
    for cut in range(1, len(content), 7):
        path.write_bytes(content[:cut])
        found.append(refuses(path))
    assert {theirs == ours for theirs, ours in found} == {True}
    assert found.count((True, True)) > len(found) / 2
    path.write_bytes(b"\x7fELF" + content)
    assert refuses(path) == (True, True)
    path.write_bytes(b"")
    with pytest.raises(DecodeError):
        outline.read(path)


def test_only_the_files_of_a_model_count_not_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, external = tmp_path / "model.onnx", tmp_path / "external.onnx"
    save_model(path)
    onnx.save(onnx.load(path), external, save_as_external_data=True, location="weights")
    (tmp_path / "photos").write_bytes(bytes(1 << 20))
    (tmp_path / "dangling").symlink_to("nowhere")
    assert outline.external_files(path) == set()
    assert outline.external_files(external) == {tmp_path / "weights"}
    runtime.open_session(path)  # a link to nowhere beside it has no effect
    monkeypatch.setattr(runtime, "LARGE_BYTES", path.stat().st_size + 1)
    assert not runtime._is_large(path)
    monkeypatch.setattr(runtime, "LARGE_BYTES", external.stat().st_size + 1)
    assert runtime._is_large(external)


@pytest.mark.parametrize("optimized", [True, False])
def test_the_session_of_a_large_model_answers_like_any_other(
    optimized: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    path, external = tmp_path / "model.onnx", tmp_path / "other/external.onnx"
    save_model(path)
    onnx.save(onnx.load(path), external, save_as_external_data=True, location="weights")
    asked = {"x": np.random.default_rng(1).random((3, 40), "float32")}
    wanted = runtime.open_session(path, optimized=optimized).run(None, asked)
    monkeypatch.setattr(runtime, "LARGE_BYTES", 0)
    for file in (path, external):
        session = runtime.open_session(file, optimized=optimized, mapped=True)
        np.testing.assert_array_equal(session.run(None, asked), wanted)


@pytest.mark.parametrize("content", [b"\x08\x08" + bytes(1 << 20), b"\xff" * (1 << 20)])
def test_bytes_of_something_else_are_not_read_to_their_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(8 << 30)  # nothing is written: the file has a hole
    with pytest.raises(DecodeError):
        outline.read(path)


def test_a_file_may_be_cut_off_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(256)) * 1024)
    with path.open("rb") as file:
        content = outline.Bytes(file.fileno())
        assert (content[0], content[200_000], content[1]) == (0, 200_000 % 256, 1)
        assert content[70_000:140_001] == path.read_bytes()[70_000:140_001]
        os.truncate(path, 5)
        with pytest.raises(IndexError):
            content[200_001]
        with pytest.raises(IndexError):
            content[3:200_000]
