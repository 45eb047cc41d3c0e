"""Outputs that are compared in another way: of a known range, as a sigmoid's, or arbitrary among equal values."""

from pathlib import Path

from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.walk import reads

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
