"""Pooling with ``ceil_mode`` whose last window would lie in the padding: torch leaves that window out.

ONNX Runtime leaves it out as well when it runs, but infers a size with it (onnx issue 5711): Triton would refuse the
configuration, and ONNX Runtime a Gemm behind a Flatten. Such a layer is written without ``ceil_mode``, with the padding
at the ends that its other axes need.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

POOLS = {"AveragePool", "LpPool", "MaxPool"}


def without_idle_windows(model: Any) -> None:
    """Write the pooling layers of an ``onnx_ir.Model`` so that ONNX Runtime infers the sizes that it answers.

    The older exporter infers one window too many as well: then shapes that it wrote are taken out.
    """
    pools = [node for node in model.graph.all_nodes() if node.op_type in POOLS and _whole(node, "ceil_mode", 0)]
    if not pools:
        return
    written = {value: value.shape for node in model.graph.all_nodes() for value in node.outputs}
    wrong = False
    for node in pools:  # in their order: a later one gets what an earlier one answers
        sizes = _sizes(model, node, written)
        kernel = list(node.attributes["kernel_shape"].as_ints())
        if len(sizes) == len(kernel):
            answered = _rewrite(node, sizes, kernel)
            told = written[node.outputs[0]]
            wrong |= told is not None and list(told[2:]) != answered
    for value, shape in written.items():
        value.shape = None if wrong else shape


def _sizes(model: Any, node: Any, values: Iterable[Any]) -> list[int]:
    """Return the sizes of the axes that a layer pools over; none if ONNX doesn't infer them."""
    from onnx_ir.passes.common import ShapeInferencePass

    for value in values:
        value.shape = None
    ShapeInferencePass(strict_mode=False)(model)
    shape = node.inputs[0].shape
    sizes = [] if shape is None else list(shape[2:])
    return sizes if all(isinstance(size, int) for size in sizes) else []


def _rewrite(node: Any, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Change a layer if it has a window in the padding; return the sizes that it answers with."""
    import onnx_ir

    axes = len(sizes)
    strides, dilations = (_numbers(node, name, [1] * axes) for name in ("strides", "dilations"))
    pads = _numbers(node, "pads", [0] * 2 * axes)
    counted = node.op_type == "AveragePool" and _whole(node, "count_include_pad", 0)
    idle, more, answered = False, list(pads), []
    for axis, (size, width, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        start = pads[axis]
        span = size + start + pads[axes + axis] - dilation * (width - 1) - 1
        last = -(-span // stride)  # of the windows, with one that begins in the padding
        if last * stride >= size + start:
            idle, last = True, last - 1
        more[axes + axis] += max(0, last * stride - span)
        answered.append(last + 1)
    fits = all(pad < width for pad, width in zip(more[axes:], kernel, strict=True))
    if idle and fits and (more == pads or not counted):  # padding that counts in an average is not added
        node.attributes["ceil_mode"] = onnx_ir.AttrInt64("ceil_mode", 0)
        node.attributes["pads"] = onnx_ir.AttrInt64s("pads", more)
    return answered


def _numbers(node: Any, name: str, default: list[int]) -> list[int]:
    attributes: Mapping[str, Any] = node.attributes
    return list(attributes[name].as_ints()) if name in attributes else default


def _whole(node: Any, name: str, default: int) -> int:
    return int(node.attributes[name].as_int()) if name in node.attributes else default
