"""Small ONNX files that fit each other: `first` gives what `second` takes, and `best` takes what that gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
FILE = """
client_dir = "none"
[models.first]
model = "first.onnx"
[models.second]
model = "second.onnx"
"""


def save(
    path: Path, nodes: Sequence[onnx.NodeProto], given: Any, answered: Any, weights: Sequence[onnx.TensorProto] = ()
) -> None:
    """Write a graph with one input and one output, each a name, a type and a shape."""
    tensors = [helper.make_tensor_value_info(*each) for each in (given, answered)]
    graph = helper.make_graph(list(nodes), "g", tensors[:1], tensors[1:], list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def linear(path: Path, given: str, answered: str, sizes: tuple[int, int], seed: int = 0, batch: Any = "batch") -> None:
    """Write a matrix product."""
    weights = np.random.default_rng(seed).standard_normal(sizes).astype("float32")
    ends = (given, FLOAT, [batch, sizes[0]]), (answered, FLOAT, [batch, sizes[1]])
    save(path, [helper.make_node("MatMul", [given, "W"], [answered])], *ends, [numpy_helper.from_array(weights, "W")])


def write(folder: Path) -> None:
    """Write the files."""
    linear(folder / "first.onnx", "x", "y", (4, 3))
    linear(folder / "second.onnx", "y", "scores", (3, 5), seed=1)
    linear(folder / "fixed.onnx", "y", "z", (3, 2), seed=2, batch=1)
    best = helper.make_node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0)
    save(folder / "best.onnx", [best], ("scores", FLOAT, ["batch", 5]), ("label", INT64, ["batch"]))
    cast = helper.make_node("Cast", ["ids"], ["floats"], to=FLOAT)
    save(folder / "ids.onnx", [cast], ("ids", INT64, ["batch", 3]), ("floats", FLOAT, ["batch", 3]))


def steps(*each: str, more: str = "") -> str:
    """Return the table of an ensemble `e`, of the lines of its steps."""
    return f"[ensembles.e]\n{more}\n" + "".join(f"[[ensembles.e.steps]]\n{one}\n" for one in each)
