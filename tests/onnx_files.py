"""ONNX files of a few nodes, written by hand for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Declared = tuple[str, int, Sequence[int | str | None] | None]
FLOAT, INT64, STRING, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
ROWS: Declared = ("x", FLOAT, ["batch", 4])
ANSWERS: Declared = ("y", FLOAT, ["batch", 4])
RELU = helper.make_node("Relu", ["x"], ["y"])


def model(
    nodes: Sequence[onnx.NodeProto] = (RELU,),
    inputs: Sequence[Any] = (ROWS,),
    outputs: Sequence[Any] = (ANSWERS,),
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 20,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """Return a model; inputs and outputs are (name, element type, shape), or ValueInfoProtos."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [each if isinstance(each, onnx.ValueInfoProto) else helper.make_tensor_value_info(*each) for each in inputs],
        [each if isinstance(each, onnx.ValueInfoProto) else helper.make_tensor_value_info(*each) for each in outputs],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def write(name: str, **parts: Any) -> Path:
    """Write a model to a file of the current folder."""
    path = Path(name)
    path.write_bytes(model(**parts).SerializeToString())
    return path


def with_external_data(location: str) -> onnx.ModelProto:
    """Return a model that keeps its four weights in the file ``location``, which this does not write."""
    weights = numpy_helper.from_array(np.arange(4, dtype="float32"), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model(nodes=(helper.make_node("Add", ["x", "w"], ["y"]),), initializers=(weights,))
