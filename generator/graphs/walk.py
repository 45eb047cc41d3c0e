"""The parts of an ONNX model: its graphs, the tensors that nodes read, its inputs, and its batch dimension."""

import re
from collections.abc import Iterator
from typing import Any

from modelrepo.generator.errors import ConversionError

# The name that Triton gives the model in a version folder.
MODEL_FILE = "model.onnx"
# Operators of ONNX and of ONNX Runtime that round to 8 bits.
QUANTIZING = re.compile("QuantizeLinear|DynamicQuantize|QLinear|QAttention|QGemm")


def graphs(model: Any) -> Iterator[Any]:
    """Yield a model's graph, its functions, and every graph that a node in one of these holds."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting += inner_graphs(node)


def inner_graphs(node: Any) -> list[Any]:
    """Return the graphs that are attributes of a node."""
    single = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*single, *(graph for attribute in node.attribute for graph in attribute.graphs)]


def reads(node: Any) -> Iterator[str]:
    """Yield the names of the tensors that a node reads, including those that the graphs within it read."""
    yield from node.input
    for graph in inner_graphs(node):
        for each in graph.node:
            yield from reads(each)
        yield from (value.name for value in graph.output)


def quantizes(model: Any) -> bool:
    """Whether a model computes numbers of 8 bits or fewer, which it rounds to."""
    return any(QUANTIZING.match(node.op_type) for graph in graphs(model) for node in graph.node)


def shares_ranges(model: Any) -> bool:
    """Whether a model quantizes what its layers read by the range of a whole batch."""
    return any(node.op_type.startswith("DynamicQuantize") for graph in graphs(model) for node in graph.node)


def required_inputs(graph: Any) -> list[Any]:
    """Return the inputs of a GraphProto without a value of their own.

    Before IR 4 the inputs list all initializers too, which are not inputs; from IR 4 on those listed are optional.
    """
    initializers = {tensor.name for tensor in graph.initializer}
    initializers |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in initializers]


def has_dynamic_batch(graph: Any) -> bool:
    """Whether all inputs and outputs of a GraphProto have the same named first dimension."""
    (first, *others) = {_leading(value) for value in (*required_inputs(graph), *graph.output)}
    return not others and isinstance(first, str) and first != ""


def fixed_batch(graph: Any) -> int:
    """Return the size that the inputs of a GraphProto have as their first dimension; 1 if none of them has one.

    Raises ConversionError for an input without a first dimension, and for inputs with different ones.
    """
    sizes: dict[int, str] = {}
    for value in required_inputs(graph):
        leading = _leading(value)
        if leading is None:
            raise stays_fixed(f"input {value.name!r} has no first dimension")
        if isinstance(leading, int):
            sizes[leading] = value.name
    if len(sizes) > 1:
        found = " and ".join(f"{size} of {name!r}" for size, name in sizes.items())
        raise stays_fixed(f"the inputs' first dimensions are {found}")
    return next(iter(sizes), 1)


def stays_fixed(reason: str) -> ConversionError:
    """Return the error for a model whose batch can't be made dynamic."""
    return ConversionError(
        f"the batch can't be made dynamic: {reason}",
        "Export it with a dynamic batch, or serve it without batching: leave --make-batch-dynamic out",
    )


def _leading(value: Any) -> int | str | None:
    """Return the first dimension of an input or output: its size, its name, or None without one."""
    dims = value.type.tensor_type.shape.dim
    return (dims[0].dim_value if dims[0].HasField("dim_value") else str(dims[0].dim_param)) if dims else None
