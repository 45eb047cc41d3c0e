"""Outputs whose values lie in a known range, such as those of a sigmoid."""

from pathlib import Path

from modelrepo.generator.graphs import outline

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
