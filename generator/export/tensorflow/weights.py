"""Weights that did not pass through tf2onnx, added to its graph: read and rearranged when it is written."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any


def fill(graph: Any, value: Any, name: str, dtype: Any, shape: Sequence[int], read: Callable[[], Any]) -> None:
    """Turn a value into an initializer with content that is read when it is needed."""
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
    """Remove nodes that only rearrange a weight: that is done when the weight is written, before it is scaled."""
    import numpy as np
    import onnx_ir

    for node in list(graph):
        move = _move(node)
        given = node.inputs[0] if node.inputs else None
        scaling = _scaling(given)
        weight: Any = scaling.inputs[0] if scaling else given
        if move is None or given is None or not isinstance(weight.const_value, onnx_ir.LazyTensor):
            continue
        if (
            len(weight.uses()) > 1
            or len(given.uses()) > 1
            or any(value.is_graph_output() for value in (weight, given, node.outputs[0]))
        ):
            continue
        tensor, made = weight.const_value, node.outputs[0]
        shape = move(
            np.empty(tensor.shape.numpy(), tensor.dtype.numpy())
        ).shape  # takes no memory, since nothing is written
        if scaling and not _scaled_along(scaling, node, tensor.shape.numpy(), shape):
            continue
        name = weight.name
        del graph.initializers[name]
        replacement = onnx_ir.Value(name=name)
        if scaling:
            scaling.replace_input_with(0, replacement)
            given.shape = made.shape
        graph.remove(node, safe=False)
        made.replace_all_uses_with(given if scaling else replacement)
        fill(graph, replacement, name, tensor.dtype, shape, partial(_moved, move, tensor))


def _scaling(value: Any) -> Any:
    """Return the DequantizeLinear that computes a value from a weight; None if another node does."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _scaled_along(scaling: Any, node: Any, before: Sequence[int], after: Sequence[int]) -> bool:
    """Let a DequantizeLinear scale the output of ``node``; False if that has no axis for the scales."""
    import onnx_ir

    if not scaling.inputs[1].shape:  # one scale for all
        return True
    axis = scaling.attributes["axis"].as_int() if "axis" in scaling.attributes else 1
    if node.op_type == "Transpose":
        order = node.attributes["perm"].as_ints() if "perm" in node.attributes else [*range(len(before))][::-1]
        places = [order.index(axis % len(before))]
    else:
        place = prod(before[: axis % len(before)]), before[axis]
        places = [number for number, size in enumerate(after) if (prod(after[:number]), size) == place]
    if places:
        scaling.attributes["axis"] = onnx_ir.AttrInt64("axis", places[0])
    return bool(places)


def _move(node: Any) -> Callable[[Any], Any] | None:
    """Return the function of a node that rearranges a weight; None if the node does something else."""
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
