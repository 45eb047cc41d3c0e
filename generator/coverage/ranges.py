"""Outputs that are compared in another way: of a known range, as a sigmoid's, or arbitrary among equal values."""

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
MOVING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Concat", "Split"}


def known_ranges(path: Path) -> dict[str, float]:
    """Return the largest magnitude of each output that only such an operator, and moves after it, compute."""
    graph = outline.read(path).graph
    producers = {name: node for node in graph.node for name in node.output}
    found = {}
    for value in graph.output:
        node = producers.get(value.name)
        while node is not None and node.op_type in MOVING and (node.op_type != "Concat" or len(node.input) == 1):
            node = producers.get(node.input[0])
        if node is not None and node.op_type in BOUNDED:
            found[value.name] = BOUNDED[node.op_type]
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


def has_ties(path: Path, arrays: Arrays) -> bool:
    """Whether equal values meet where a graph chooses the largest or smallest, on some of these inputs."""
    graph = outline.read(path).graph
    chosen = {node.input[0]: _count(graph, node.input[1]) for node in graph.node if node.op_type == "TopK"}
    (found,) = tapped(path, [arrays], chosen)
    return any(_is_tied(found[name], count) for name, count in chosen.items() if name in found)


def _count(graph: Any, name: str) -> int | None:
    """Return the number of values that are chosen, if it is a constant."""
    from onnx import numpy_helper

    tensor = next((each for each in graph.initializer if each.name == name), None)
    return None if tensor is None else int(numpy_helper.to_array(tensor).ravel()[0])


def _is_tied(values: Array, count: int | None) -> bool:
    """Whether two of the first ``count`` + 1 values are equal, from either end."""
    ordered = np.sort(values, axis=-1)
    shown = ordered.shape[-1] if count is None else count + 1
    ends = (ordered[..., :shown], ordered[..., -shown:])
    return any(bool((end[..., 1:] == end[..., :-1]).any()) for end in ends)
