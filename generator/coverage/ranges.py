"""Outputs that are compared in another way: of a known range, in steps, or arbitrary among equal values."""

from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.taps import tapped
from modelrepo.generator.graphs.walk import reads
from modelrepo.generator.specs.tensors import Array, Arrays

# The largest magnitude that the outputs of these operators can have.
BOUNDED = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Softsign", "Erf"), 1.0),
}
# Scores of a deep network this close, as a share of the largest, may change places in another runtime.
NEAR = 1e-5
MOVING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Concat", "Split"}


def known_ranges(path: Path) -> dict[str, float]:
    """Return the largest magnitude of each output that only such an operator, and moves after it, compute."""
    made = _makers(outline.read(path).graph)
    return {name: BOUNDED[node.op_type] for name, node in made.items() if node.op_type in BOUNDED}


def quantized_steps(path: Path) -> dict[str, float]:
    """Return the step of each output that is a quantized number with one scale, and moves after it."""
    from onnx import numpy_helper

    graph = outline.read(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for name, node in _makers(graph).items():
        scale = constants.get(node.input[1]) if node.op_type == "DequantizeLinear" else None
        if scale is not None and not [size for size in scale.dims if size > 1]:
            found[name] = float(numpy_helper.to_array(scale).ravel()[0])
    return found


def _makers(graph: Any) -> dict[str, Any]:
    """Return the node that computes each output, before the nodes that only move its values."""
    producers = {name: node for node in graph.node for name in node.output}
    found = {}
    for value in graph.output:
        node = producers.get(value.name)
        while node is not None and node.op_type in MOVING and (node.op_type != "Concat" or len(node.input) == 1):
            node = producers.get(node.input[0])
        if node is not None:
            found[value.name] = node
    return found


def arbitrary_outputs(path: Path) -> set[str]:
    """Return the outputs that depend on the places of the largest or smallest values.

    Among equal values frameworks choose any: torch's topk and sort name others than ONNX Runtime's.
    """
    graph = outline.read(path).graph
    told: set[str] = set()
    for node in graph.node:
        if node.op_type == "TopK":
            told |= {name for name in node.output[1:] if name}
        elif told.intersection(reads(node)):
            told |= {name for name in node.output if name}
    return told.intersection(value.name for value in graph.output)


def has_ties(path: Path, arrays: Arrays, near: bool = False) -> bool:
    """Whether equal values meet where a graph chooses the largest or smallest, on some of these inputs.

    With ``near``, values within NEAR of the largest magnitude are equal, too.
    """
    graph = outline.read(path).graph
    chosen = {node.input[0]: _count(graph, node.input[1]) for node in graph.node if node.op_type == "TopK"}
    (found,) = tapped(path, [arrays], chosen)
    return any(_is_tied(found[name], count, NEAR if near else 0.0) for name, count in chosen.items() if name in found)


def _count(graph: Any, name: str) -> int | None:
    """Return the number of values that are chosen, if it is a constant."""
    from onnx import numpy_helper

    tensor = next((each for each in graph.initializer if each.name == name), None)
    return None if tensor is None else int(numpy_helper.to_array(tensor).ravel()[0])


def _is_tied(values: Array, count: int | None, near: float) -> bool:
    """Whether two of the first ``count`` + 1 values, from either end, are no farther apart than ``near``.

    That is a share of the largest magnitude.
    """
    ordered = np.sort(values, axis=-1)
    shown = ordered.shape[-1] if count is None else count + 1
    ends = (ordered[..., :shown], ordered[..., -shown:])
    apart = near * np.abs(values).max(initial=0.0)
    return any(bool((end[..., 1:] - end[..., :-1] <= apart).any()) for end in ends)
