"""Operators that PyTorch's older exporter supports less than ONNX allows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelrepo.generator.export.torch import formulas, unmended


@contextmanager
def registered(opset: int) -> Iterator[None]:
    """Let the older exporter use the operators of this module for ``opset``."""
    import torch

    symbolics = {**unmended.symbolics(opset), **_symbolics()}
    for name, symbolic in symbolics.items():
        torch.onnx.register_custom_op_symbolic(name, symbolic, opset)
    try:
        yield
    finally:
        for name in symbolics:
            torch.onnx.unregister_custom_op_symbolic(name, opset)


def _symbolics() -> dict[str, Any]:
    from torch.onnx import symbolic_helper

    return {"aten::unfold": symbolic_helper.parse_args("v", "i", "i", "i")(_unfold), **formulas.symbolics()}


def _unfold(graph: Any, tensor: Any, axis: int, size: int, step: int) -> Any:
    """Write windows along an axis as the last axis of the output; torch's own version needs the axis's length."""
    from torch.onnx import symbolic_helper

    rank = symbolic_helper._get_tensor_rank(tensor)
    if rank is None:
        return symbolic_helper._unimplemented("unfold", "of a tensor whose number of dimensions is not known", tensor)
    axis %= rank
    length = graph.op("Gather", graph.op("Shape", tensor), _constant(graph, axis), axis_i=0)
    end = graph.op("Sub", length, _constant(graph, size - 1))
    starts = graph.op("Range", _constant(graph, 0), end, _constant(graph, step))
    places = graph.op("Add", graph.op("Unsqueeze", starts, _constant(graph, [1])), _constant(graph, list(range(size))))
    windows = graph.op("Gather", tensor, places, axis_i=axis)
    order = [each for each in range(rank + 1) if each != axis + 1]
    return graph.op("Transpose", windows, perm_i=[*order, axis + 1])


def _constant(graph: Any, value: int | list[int]) -> Any:
    import torch

    return graph.op("Constant", value_t=torch.tensor(value))
