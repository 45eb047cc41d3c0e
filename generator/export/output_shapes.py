"""The shapes that an ONNX model answers with, where its file declares none, or declares others.

Triton compares the dims of a configuration with the shape that ONNX Runtime's session tells, which is the inferred one,
or else the declared one. So a file whose declaration is wrong can only be configured wrongly; its outputs are declared
anew. Source: ``ModelInstanceState::ValidateOutputs`` of onnxruntime_backend.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs.edit import opset_of
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.specs import dimensions
from modelrepo.generator.specs.tensors import Arrays, Dim, TensorSpec
from modelrepo.generator.verification.declared import fits
from modelrepo.generator.verification.inputs import LARGER_SIZES, make_pool

# Sizes of the symbolic dimensions, by their position; the last one is that of all further ones. The sizes of a turn
# differ, so that an axis shows what it follows. Models that refuse small sizes get larger ones.
TURNS = ((1,), (2, 3, 5, 7, 11), (4, 6, 9, 13, 17), (2,), (3,))
LARGER_TURNS = tuple((2, size) for size in LARGER_SIZES)
# Sizes at which also what a network makes much smaller has a size of its own, as a row of letters of a wide picture.
WIDE, WIDE_BATCH = (64,), (2, 64, 96, 128)
QUICK_TURNS = 2
# The opset from which Slice takes its ends as inputs.
SLICE_BY_INPUTS = 10
# Operators whose answers have a size that depends on values; If and Loop may hold any.
SIZED_BY_VALUES = {"NonZero", "Compress", "Range", "Unique", "NonMaxSuppression", "StringSplit", "If", "Loop"}


@dataclass(frozen=True)
class Seen:
    """The shapes of one answer, by output, and the sizes of the symbolic dimensions that it was asked with."""

    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


def look(session: Any, inputs: Sequence[TensorSpec], model: Any) -> list[Seen]:
    """Return what a model answers with: on two small inputs, or on all families if sizes may depend on values.

    If it refuses those, it is asked for all families at all turns. The list is empty if it refuses everything.
    """
    by_values = any(node.op_type in SIZED_BY_VALUES for graph in graphs(model) for node in graph.node)
    quick = list(_seen(session, inputs, TURNS[:QUICK_TURNS], rows=0 if by_values else 1))
    return quick or look_thoroughly(session, inputs)


def look_thoroughly(session: Any, inputs: Sequence[TensorSpec]) -> list[Seen]:
    """Return what a model answers with, on all families of inputs at all turns, and on a wide input."""
    found = list(_seen(session, inputs, TURNS)) or list(_seen(session, inputs, LARGER_TURNS))
    symbolic = {dim for spec in inputs for dim in spec.shape if isinstance(dim, str)}
    wide = [WIDE_BATCH if len(symbolic) > 1 else WIDE] if symbolic else []
    return [*found, *_seen(session, inputs, wide, rows=1)]


def contradicted(session: Any, seen: Sequence[Seen]) -> list[str]:
    """Return the outputs that answered with another shape than the session tells."""
    return [
        output.name
        for output in session.get_outputs()
        if not all(fits(output.shape, each.shapes[output.name]) for each in seen)
    ]


def dims_of(name: str, seen: Sequence[Seen]) -> tuple[Dim, ...] | None:
    """Return the shape of an output as it was seen, None if its number of dimensions changes, or if nothing was seen.

    An axis that follows a symbolic dimension of the inputs has its name, one that changes otherwise is named for its
    output.
    """
    shapes = [(each.sizes, each.shapes[name]) for each in seen]
    ranks = {len(shape) for _, shape in shapes}
    if len(ranks) != 1:
        return None
    axes = range(ranks.pop())
    return tuple(_dim(f"{name}_{axis}", [(sizes, shape[axis]) for sizes, shape in shapes]) for axis in axes)


def names_of(output: Any, seen: Sequence[Seen]) -> tuple[Dim, ...]:
    """Return the shape that a session tells of an output; a dimension without a name gets that of what it follows."""
    followed = dims_of(output.name, seen) or ()
    pairs = zip_longest(output.shape, followed[: len(output.shape)])
    return tuple(
        dim if isinstance(dim, int) or dim else name if isinstance(name, str) else f"{output.name}_{axis}"
        for axis, (dim, name) in enumerate(pairs)
    )


def corrected(told: Sequence[Any], output: str, seen: Sequence[Seen]) -> tuple[Dim, ...] | None:
    """Return ``dims_of`` an output that a session tells another shape of.

    A size that differs from the one that it tells may change again.
    """
    dims = dims_of(output, seen)
    if dims is None or len(told) != len(dims):
        return dims
    return tuple(
        f"{output}_{axis}" if isinstance(dim, int) and isinstance(size, int) and dim != size else dim
        for axis, (dim, size) in enumerate(zip(dims, told, strict=True))
    )


def declare(model: Any, shapes: Mapping[str, tuple[Dim, ...]]) -> None:
    """Declare the shapes of outputs in a model, in place."""
    for value in model.graph.output:
        if value.name in shapes:
            value.type.tensor_type.shape.Clear()
            for dim in shapes[value.name]:
                added = value.type.tensor_type.shape.dim.add()
                if isinstance(dim, int):
                    added.dim_value = dim
                else:
                    added.dim_param = dim
            if not shapes[value.name]:
                value.type.tensor_type.shape.SetInParent()


def cut(model: Any, session: Any, seen: Sequence[Seen]) -> bool:
    """Cut, in place, outputs to the sizes that they have, where the session tells larger ones; return whether any was.

    ONNX Runtime infers one window too many of a pooling layer with ``ceil_mode`` whose last one lies in the padding,
    and drops that window when it runs (onnx issue 5711). A Slice that takes everything tells it the right size.
    """
    told = {output.name: output.shape for output in session.get_outputs()}
    done = False
    for name in contradicted(session, seen):
        dims = dims_of(name, seen)
        ends = _smaller(told[name], dims) if dims and len(dims) == len(told[name]) else {}
        maker = next((node for node in model.graph.node if name in node.output), None)
        if ends and maker is not None and opset_of(model) >= SLICE_BY_INPUTS:
            _slice(model.graph, maker, name, ends)
            done = True
    return done


def _smaller(told: Sequence[Any], dims: Sequence[Dim]) -> dict[int, int]:
    """Return the axes with a size that is smaller than the one that is told, and that size."""
    pairs = enumerate(zip(told, dims, strict=True))
    return {axis: dim for axis, (size, dim) in pairs if isinstance(size, int) and isinstance(dim, int) and dim < size}


def _slice(graph: Any, maker: Any, name: str, ends: Mapping[int, int]) -> None:
    import numpy as np
    from onnx import helper, numpy_helper

    whole, parts = f"{name}_uncut", {"starts": [0] * len(ends), "ends": list(ends.values()), "axes": list(ends)}
    constants = [numpy_helper.from_array(np.array(each, "int64"), f"{name}_cut_{part}") for part, each in parts.items()]
    maker.output[list(maker.output).index(name)] = whole
    node = helper.make_node("Slice", [whole, *(each.name for each in constants)], [name], f"{name}_cut")
    graph.initializer.extend(constants)
    graph.node.insert(list(graph.node).index(maker) + 1, node)


def check(session: Any, seen: Sequence[Seen]) -> None:
    """Raise ConversionError for an output that answered with another shape than the session tells."""
    for output in session.get_outputs():
        if output.name in contradicted(session, seen) and dims_of(output.name, seen) is not None:
            shape = ", ".join(map(str, dims_of(output.name, seen) or ()))
            told = ", ".join(map(str, output.shape))
            raise ConversionError(
                f"output {output.name!r} answers with the shape [{shape}], but ONNX Runtime infers [{told}], which "
                "Triton would tell its clients",
                "Export the model again with another --opset, or with the right shapes",
            )


def _seen(
    session: Any, inputs: Sequence[TensorSpec], turns: Sequence[tuple[int, ...]], rows: int = 0
) -> Iterator[Seen]:
    """Yield what a model answers with, for the first ``rows`` families of inputs at each turn; 0: for all."""
    names = [output.name for output in session.get_outputs()]
    dims = [dim for spec in inputs for dim in spec.shape if isinstance(dim, str)]
    symbolic = dimensions.own(dims)
    known = {dim: sizes for spec in inputs for dim, sizes in spec.sizes.items() if sizes}
    for number, turn in enumerate(turns if symbolic else turns[:1]):
        usual = {dim: turn[min(position, len(turn) - 1)] for position, dim in enumerate(symbolic)}
        sizes = {dim: known[dim][number % len(known[dim])] if dim in known else usual[dim] for dim in symbolic}
        sizes = dimensions.settled(sizes, dims)
        sizes |= {dim: dimensions.size_of(dim, sizes) for dim in dims}
        pool = make_pool([replace(spec, shape=("row", *spec.sized(sizes))) for spec in inputs], 1, 0)
        for row in range(rows or len(pool.families)):
            answers = _answers(session, pool.whole(row))
            if answers is not None:
                yield Seen(sizes, dict(zip(names, (answer.shape for answer in answers), strict=True)))


def _answers(session: Any, arrays: Arrays) -> Sequence[Any] | None:
    """Return a model's answers; None if it refuses the inputs."""
    import numpy as np

    try:
        return [np.asarray(answer) for answer in session.run(None, dict(arrays))]
    except Exception:  # ONNX Runtime's errors have no common class
        return None


def _dim(name: str, seen: Sequence[tuple[Mapping[str, int], int]]) -> Dim:
    """Return a size that is always the same, the symbolic dimension that an axis follows, or else ``name``."""
    found = {size for _, size in seen}
    if len(found) == 1 and 0 not in found:
        return found.pop()
    return next((dim for dim in seen[0][0] if all(sizes[dim] == size for sizes, size in seen)), name)
