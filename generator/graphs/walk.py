"""Walking an ONNX model: its graphs, its inputs, its batch dimension."""

from collections.abc import Iterator
from typing import Any

from modelrepo.generator.errors import ConversionError

# What Triton calls the model in its version folder.
MODEL_FILE = "model.onnx"
FIXED = "the batch can't be made dynamic"
INSTEAD = "Export it with a dynamic batch, or serve it without batching: leave --make-batch-dynamic out"


def has_dynamic_batch(graph: Any) -> bool:
    """Tell whether all inputs and outputs of a GraphProto have the same named first dimension."""
    (first, *others) = {_leading(value) for value in (*required_inputs(graph), *graph.output)}
    return not others and isinstance(first, str) and first != ""


def fixed_batch(graph: Any) -> int:
    """Return the size that the inputs of a GraphProto have as their first dimension; 1 where none of them has one.

    Raises ConversionError for an input that has no such dimension, or another than the others.
    """
    sizes: dict[int, str] = {}
    for value in required_inputs(graph):
        leading = _leading(value)
        if leading is None:
            raise ConversionError(f"{FIXED}: input {value.name!r} has no first dimension", INSTEAD)
        if isinstance(leading, int):
            sizes[leading] = value.name
    if len(sizes) > 1:
        told = " and ".join(f"{size} of {name!r}" for size, name in sizes.items())
        raise ConversionError(f"{FIXED}: the inputs' first dimensions are {told}", INSTEAD)
    return next(iter(sizes), 1)


def _leading(value: Any) -> int | str | None:
    """Return the first dimension of an input or output: its size, its name, or None without one."""
    dims = value.type.tensor_type.shape.dim
    return (dims[0].dim_value if dims[0].HasField("dim_value") else str(dims[0].dim_param)) if dims else None


def required_inputs(graph: Any) -> list[Any]:
    """Return the inputs of a GraphProto without a value of their own.

    Before IR 4 all initializers are listed as inputs, and are none; from then on those that are listed are optional.
    """
    initializers = {tensor.name for tensor in graph.initializer}
    initializers |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in initializers]


def graphs(model: Any) -> Iterator[Any]:
    """Yield a model's graph, its functions, and every graph that is an attribute of a node in one of these."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
