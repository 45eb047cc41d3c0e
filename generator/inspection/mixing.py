"""Nodes that may mix the samples of a batch, found by the shapes in a file."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from modelrepo.generator.inspection.inspection import Batching, Dim, Node, Tensor


def by_nodes(
    declared: Batching, inputs: Sequence[Tensor], nodes: Sequence[Node], of_shapes: Collection[str]
) -> Batching:
    """Return ``declared`` if it is no "yes", or if no node of the main graph loses the batch.

    A node that is given a tensor with an open first dimension and answers with fixed sizes only, such as a mean over
    all samples, leaves it unknown. ``of_shapes`` are operators whose answers are shapes.
    """
    if declared.verdict != "yes":
        return declared
    shapes: dict[str, Sequence[Dim] | None] = {each.name: each.shape for each in inputs}
    for node in nodes:
        given = node.level == 0 and any(map(_is_open, (shapes.get(name) for name in node.inputs)))
        if given and node.shapes and node.operator not in of_shapes and all(map(_is_fixed, node.shapes)):
            said = (
                f"{node.operator} is given the whole batch, and its answer has no dimension for it: it may mix samples"
            )
            return Batching("unknown", node.name, said)
        shapes.update(zip(node.outputs, node.shapes, strict=False))
    return replace(declared, reason=f"{declared.reason}, and no operator loses it")


def _is_open(shape: Sequence[Dim] | None) -> bool:
    return bool(shape) and shape is not None and not isinstance(shape[0], int)


def _is_fixed(shape: Sequence[Dim] | None) -> bool:
    return shape is not None and all(isinstance(size, int) for size in shape)
