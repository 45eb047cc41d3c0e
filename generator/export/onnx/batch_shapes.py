"""A graph's tensors: their shapes with two sizes of the batch, and the sizes that the graph computes.

Shapes are inferred twice, with the batch that a file fixes and with one that is SCALE times as large: a dimension that
grew by SCALE holds the batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from math import prod
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import first_line
from modelrepo.generator.graphs.edit import FIRST_IR_WITH_CONSTANTS
from modelrepo.generator.graphs.walk import reads, required_inputs, stays_fixed
from modelrepo.generator.specs.tensors import Array

# Primes that no dimension of a usual model is a multiple of: for the batch, and for other dimensions of any size.
SCALE, SIZES = 7919, (521, 523, 541, 547, 557, 563, 569, 571, 577, 587, 593, 599, 601, 607, 613, 617)
# Larger tensors are weights, not sizes.
SMALL_BYTES = 1 << 10
# The operators that exporters compute sizes with, those that read sizes, and the input that sets the output's size.
FOLDED = (
    *("Add", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Gather", "Identity", "Mod", "Mul", "Neg"),
    *("Range", "Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
)
SIZES_ONLY = ("Shape", "Size")
MAKING = {"ConstantOfShape": 0, "Expand": 1, "Range": 1}
Shape = tuple[int, ...]
Pair = tuple[Array, Array]


class Graph:
    """A model without its weights, whose ``nodes`` may be changed.

    ``before`` and ``after`` are the shapes of the tensors that have known ones, and ``values`` the values computed from
    sizes, in both cases; ``constants`` are the small ones. ``open`` is whether inputs have further dimensions of any
    size.
    """

    def __init__(self, model: Any, batch: int, folder: Path) -> None:
        self.batch, self.model = batch, _skeleton(model, folder)
        self.inputs = [value.name for value in required_inputs(model.graph)]
        self.open = _give_sizes(self.model.graph)
        self.nodes = list(self.model.graph.node)
        self.opsets = {entry.domain: entry.version for entry in self.model.opset_import}
        self.constants = dict(_constants(self.model.graph))
        self.values: dict[str, Pair] = {name: (value, value) for name, value in self.constants.items()}
        self.before: dict[str, Shape] = {}
        self.after: dict[str, Shape] = {}

    def infer(self) -> None:
        """Infer the shapes of the current nodes."""
        self.before, self.after = self._shapes(self.batch), self._shapes(self.batch * SCALE)

    def _shapes(self, batch: int) -> dict[str, Shape]:
        import onnx

        probe = onnx.ModelProto()
        probe.CopyFrom(self.model)
        del probe.graph.node[:], probe.graph.value_info[:]
        probe.graph.node.extend(self.nodes)
        for value in probe.graph.input:
            if value.name in self.inputs:
                value.type.tensor_type.shape.dim[0].dim_value = batch
        for value in probe.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph
        except onnx.shape_inference.InferenceError as error:
            raise stays_fixed(f"ONNX infers no shapes, {first_line(error)}") from error
        found = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            tensor = value.type.tensor_type
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
                found[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
        return found

    def grown(self, name: str) -> int | None:
        """Return the axis that grows with the batch, if one does."""
        before, after = self.before.get(name, ()), self.after.get(name, ())
        differing = [axis for axis, sizes in enumerate(zip(before, after, strict=False)) if len(set(sizes)) == 2]
        if len(before) != len(after) or len(differing) != 1:
            return None
        return differing[0] if after[differing[0]] == before[differing[0]] * SCALE else None

    def fixed(self, name: str, axis: int) -> bool:
        """Whether a tensor has the batch's size in an axis, and does not grow with it."""
        shape = self.before.get(name, ())
        return 0 <= axis < len(shape) and shape[axis] == self.batch and self.after.get(name) == shape

    def grows(self, name: str, axis: int) -> bool:
        """Whether a tensor grows in this axis; True if its shape is unknown."""
        shape = self.before.get(name)
        return shape is None or self.after.get(name) == tuple(
            size * (SCALE if each == axis else 1) for each, size in enumerate(shape)
        )

    def numbers(self, name: str) -> list[int]:
        """Return the values of a constant, flat; empty unless it is a constant of whole numbers."""
        values = self.constants.get(name)
        return [int(value) for value in values.ravel()] if values is not None and values.dtype.kind == "i" else []

    def fold(self, index: int, node: Any) -> bool:
        """Replace a node that computes the same sizes for any batch by a constant; return whether it was one.

        Shape inference does this for few operators.
        """
        import onnx

        if node.domain or len(node.output) != 1 or node.output[0] in self.values:
            return False
        pair = self._sizes_of(node) if node.op_type == "Shape" else self._computed(node)
        if pair is None or any(value.nbytes > SMALL_BYTES for value in pair):
            return False
        self.values[node.output[0]] = pair
        if pair[0].tolist() != pair[1].tolist():
            return False
        self.constants[node.output[0]] = pair[0]
        tensor = onnx.numpy_helper.from_array(pair[0])
        self.nodes[index] = onnx.helper.make_node("Constant", [], node.output, name=node.name, value=tensor)
        return True

    def _sizes_of(self, node: Any) -> Pair | None:
        """Return the outputs of a Shape, if all dimensions of the inputs but the batch are fixed."""
        import numpy as np

        known = (self.before.get(node.input[0]), self.after.get(node.input[0]))
        if self.open or None in known or node.attribute:
            return None
        return np.array(known[0], np.int64), np.array(known[1], np.int64)

    def _computed(self, node: Any) -> Pair | None:
        import numpy as np
        from onnx.reference import ReferenceEvaluator

        given: list[str] = [name for name in node.input if name]
        if node.op_type not in FOLDED or not given or not all(name in self.values for name in given):
            return None
        at = MAKING.get(node.op_type)
        making: Sequence[Array] = () if at is None else self.values[node.input[at]]
        if any(prod(size.ravel().tolist()) > SMALL_BYTES for size in making):
            return None
        run = ReferenceEvaluator(node, opsets=self.opsets).run
        feeds: list[dict[str, Any]] = [{name: self.values[name][which] for name in given} for which in (0, 1)]
        try:
            before, after = (np.asarray(next(iter(run(None, feed)))) for feed in feeds)
        except Exception:  # any error of numpy for sizes that do not fit: then nothing follows from them
            return None
        return (before, after) if before.dtype.kind in "ib" else None


def depending(nodes: Iterable[Any], inputs: Iterable[str]) -> set[str]:
    """Return the names of the tensors that depend on the values of ``inputs``, not on their sizes alone."""
    found = set(inputs)
    for node in nodes:
        if node.op_type not in SIZES_ONLY and not found.isdisjoint(reads(node)):
            found.update(name for name in node.output if name)
    return found


def _skeleton(model: Any, folder: Path) -> Any:
    """Return a model with its weights as inputs, and its functions inlined."""
    import onnx
    import onnx.inliner

    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, FIRST_IR_WITH_CONSTANTS))
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    own, graph = model.graph, skeleton.graph
    graph.name = own.name
    graph.node.extend(own.node)
    graph.input.extend(required_inputs(own))
    graph.output.extend(own.output)
    graph.sparse_initializer.extend(own.sparse_initializer)
    for tensor in own.initializer:
        if prod(tensor.dims) * 8 > SMALL_BYTES:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            continue
        graph.initializer.append(tensor)
        if onnx.external_data_helper.uses_external_data(tensor):
            onnx.external_data_helper.load_external_data_for_tensor(graph.initializer[-1], str(folder))
    return onnx.inliner.inline_local_functions(skeleton) if model.functions else skeleton


def _give_sizes(graph: Any) -> bool:
    """Give a size to each open dimension of inputs except the first; return whether there was one."""
    unused, sizes = chain(SIZES, count(SIZES[-1] + 1)), dict[str, int]()
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis and not dim.HasField("dim_value"):
                name = dim.dim_param or f"{value.name}_{axis}"
                dim.dim_value = sizes[name] = sizes.get(name) or next(unused)
    return bool(sizes)


def _constants(graph: Any) -> Iterator[tuple[str, Array]]:
    """Yield the small constants, which may be sizes or bounds, by name."""
    import numpy as np
    import onnx

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value" and prod(attribute.t.dims) * 8 <= SMALL_BYTES:
                tensors[node.output[0]] = attribute.t
            elif attribute.name in ("value_int", "value_ints"):
                yield node.output[0], np.array(onnx.helper.get_attribute_value(attribute), np.int64)
    for name, tensor in tensors.items():
        yield name, onnx.numpy_helper.to_array(tensor)
