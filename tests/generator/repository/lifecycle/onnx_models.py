"""Small ONNX models that differ in one thing, and a repository that holds them as versions of one model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Array

CONFIG = """name: "net"
backend: "onnxruntime"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 8 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] }
version_policy { specific { versions: [ SERVED ] } }
"""
FIRST = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
SECOND = np.random.default_rng(1).standard_normal((4, 3)).astype("float32")


def net(
    first: Array = FIRST,
    second: Array = SECOND,
    names: tuple[str, str] = ("w1", "w2"),
    activation: str = "Relu",
    opset: int = 17,
    axis: int = -1,
) -> onnx.ModelProto:
    """Return softmax(activation(x · first) · second)."""
    nodes = [
        helper.make_node("MatMul", ["x", names[0]], ["a"]),
        helper.make_node(activation, ["a"], ["b"]),
        helper.make_node("MatMul", ["b", names[1]], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=axis),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", first.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", second.shape[1]])],
        [numpy_helper.from_array(first, names[0]), numpy_helper.from_array(second, names[1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def repository_of(root: Path, versions: Sequence[onnx.ModelProto], served: int = 1, beside: str = "") -> Repository:
    """Write models as versions 1, 2, …, without records; their weights go into the file ``beside``, if it is named."""
    for number, model in enumerate(versions, 1):
        (root / f"net/{number}").mkdir(parents=True)
        path = root / f"net/{number}/model.onnx"
        onnx.save(model, path, save_as_external_data=bool(beside), location=beside or None)
    (root / "net/config.pbtxt").write_text(CONFIG.replace("SERVED", str(served)))
    return Repository(root)
