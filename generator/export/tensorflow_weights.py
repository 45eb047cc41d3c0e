"""Weights that did not pass through tf2onnx, in the graph that it made: read, and moved around, when it is written."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any


def fill(graph: Any, value: Any, name: str, dtype: Any, shape: Sequence[int], read: Callable[[], Any]) -> None:
    """Make a value an initializer whose content is read when it is wanted."""
    import numpy as np
    import onnx_ir

    value.name = name
    value.type = onnx_ir.TensorType(dtype)
    value.shape = onnx_ir.Shape(shape)
    value.const_value = onnx_ir.LazyTensor(
        lambda: onnx_ir.Tensor(np.ascontiguousarray(read()), dtype=dtype), dtype, onnx_ir.Shape(shape), name=name
    )
    graph.register_initializer(value)


def fold(graph: Any) -> None:
    """Let what only moves a weight around be done when the weight is written."""
    import numpy as np
    import onnx_ir

    for node in list(graph):
        move = _move(node)
        weight = node.inputs[0] if node.inputs else None
        if move is None or weight is None or not isinstance(weight.const_value, onnx_ir.LazyTensor):
            continue
        if len(weight.uses()) > 1 or weight.is_graph_output() or node.outputs[0].is_graph_output():
            continue
        tensor, made = weight.const_value, node.outputs[0]
        shape = move(np.empty(tensor.shape.numpy(), tensor.dtype.numpy())).shape  # takes no memory: nothing is written
        name = weight.name
        del graph.initializers[name]
        graph.remove(node, safe=False)
        replacement = onnx_ir.Value(name=name)
        made.replace_all_uses_with(replacement)
        fill(graph, replacement, name, tensor.dtype, shape, partial(_moved, move, tensor))


def _move(node: Any) -> Callable[[Any], Any] | None:
    """Return what a node does to a weight, None where it does more than to move its numbers."""
    import numpy as np

    if node.op_type == "Identity":
        return lambda array: array
    if node.op_type == "Transpose":
        order = node.attributes["perm"].as_ints() if "perm" in node.attributes else None
        return lambda array: np.transpose(array, order)
    settings = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze") or settings is None:
        return None
    numbers = [int(each) for each in settings.numpy().ravel()]
    if node.op_type == "Reshape":
        return lambda array: array.reshape(
            [array.shape[axis] if size == 0 else size for axis, size in enumerate(numbers)]
        )
    if node.op_type == "Squeeze":
        return lambda array: np.squeeze(array, tuple(numbers))
    return lambda array: np.expand_dims(array, tuple(numbers))


def _moved(move: Callable[[Any], Any], tensor: Any) -> Any:
    return move(tensor.numpy())
