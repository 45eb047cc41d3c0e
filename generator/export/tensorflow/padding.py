"""Pads in numbers: ONNX Runtime takes no automatic ones with dilations. No issue known."""

from typing import Any

WINDOWED = ("Conv", "AveragePool", "MaxPool")


def set_pads(model: Any) -> None:
    """Replace SAME_UPPER by numbers in an ``onnx_ir.Model``: with strides of 1, they are the same for all sizes."""
    for node in model.graph.all_nodes():
        if node.op_type in WINDOWED and _text(node, "auto_pad") == "SAME_UPPER":
            pads = _pads(node)
            if pads:
                _set(node, pads)


def _pads(node: Any) -> list[int]:
    """Return the pads of a node, those before and then those after each axis; none if they depend on the size."""
    kernel = _numbers(node, "kernel_shape")
    if not kernel or any(stride != 1 for stride in _numbers(node, "strides")):
        return []
    dilations = _numbers(node, "dilations") or [1] * len(kernel)
    total = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
    return [each // 2 for each in total] + [each - each // 2 for each in total]


def _set(node: Any, pads: list[int]) -> None:
    import onnx_ir

    del node.attributes["auto_pad"]
    node.attributes["pads"] = onnx_ir.AttrInt64s("pads", pads)


def _numbers(node: Any, name: str) -> list[int]:
    return [*node.attributes[name].as_ints()] if name in node.attributes else []


def _text(node: Any, name: str) -> str:
    return str(node.attributes[name].as_string()) if name in node.attributes else ""
