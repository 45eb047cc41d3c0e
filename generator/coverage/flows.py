"""What a graph does with its inputs: which of them are sizes, indices or divisors, and what they are compared with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.coverage import categories
from modelrepo.generator.graphs.walk import inner_graphs

# Operators that move the values of their first operand, and leave them as they are.
MOVING = {
    *("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Expand", "Slice", "Gather"),
    *("Concat", "Split", "Tile", "GatherElements", "GatherND", "ArrayFeatureExtractor", "FeatureVectorizer", "Pad"),
}
# Operands that are sizes, counts or bounds: a large value takes memory or time, by operator and place.
SIZES = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "TopK", "Slice", "Pad", "Trilu", "CumSum", "Split"), (1, 2, 3, 4)),
    **dict.fromkeys(("Resize", "Upsample"), (1, 2, 3)),
    **dict.fromkeys(("ConstantOfShape", "Range", "Loop", "RandomNormal", "EyeLike"), (0, 1, 2)),
    **dict.fromkeys(("Unsqueeze", "Squeeze"), (1,)),
    "OneHot": (1,),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (4,)),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), (0,)),
}
INDICES = {"Gather": 1, "GatherElements": 1, "GatherND": 1, "ScatterElements": 1, "ScatterND": 1, "OneHot": 0}
DIVISORS = {"Div": 1, "Mod": 1}
COMPARING = {
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Clip", "Max", "Min", "Where"),
    *("Binarizer", "ThresholdedRelu", "Div", "Mod", "Sub", "Add", "Mul"),
}
LOOKING_FOR_NAN = {"IsNaN", "Imputer", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}
# Operators whose outputs have nothing to do with the values of their operands.
ENDING = {"Shape", "Size"}
# TensorProto's type of texts.
TEXT = 8
# The most constants of a graph that inputs are tried with.
MOST = 64


@dataclass
class Flow:
    """What happens to one input."""

    size: bool = False  # it decides a size, a count or a bound
    indexed: set[int] = field(default_factory=set)  # the sizes of the axes that it is an index into
    divides: bool = False  # whole numbers are divided by it
    divides_computed: bool = False  # whole numbers are divided by what is computed from it
    missing: bool = False  # the graph looks for NaN in it, or in what is computed from it
    keys: set[Any] = field(default_factory=set)  # the categories of encoders that it reaches unchanged
    infinite: bool = False  # the graph looks for infinity in it, or in what is computed from it
    compared: set[float] = field(default_factory=set)  # numbers that it is compared with before it is computed with
    constants: set[float] = field(default_factory=set)  # numbers that what is computed from it meets


def flows(model: Any, folder: Path) -> dict[str, Flow]:
    """Return what happens to each input of an ONNX model; its weights are not read."""
    return {value.name: _Follower(model, folder).follow(value.name) for value in model.graph.input}


class _Follower:
    def __init__(self, model: Any, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._gather(model.graph)
        self.readers: dict[str, list[tuple[Any, int]]] = {}
        for node in self.nodes:
            for place, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, place))

    def _gather(self, graph: Any) -> None:
        self.constants |= {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            self.nodes.append(node)
            if node.op_type == "Constant":
                value = next((each.t for each in node.attribute if each.name == "value"), None)
                if value is not None:
                    self.constants[node.output[0]] = value
            for inner in inner_graphs(node):
                self._gather(inner)

    def follow(self, name: str) -> Flow:
        """Follow an input through the graph."""
        flow = Flow()
        seen: set[tuple[str, bool]] = set()
        waiting = [(name, True)]  # each with whether the values are still those of the input
        while waiting:
            name, direct = waiting.pop()
            if (name, direct) in seen:
                continue
            seen.add((name, direct))
            for node, place in self.readers.get(name, ()):
                self._note(flow, node, place, direct)
                if node.op_type in ENDING:
                    continue
                moved = (node.op_type in MOVING and place == 0) or node.op_type == "Concat"
                waiting += [(each, direct and moved) for each in _reached(node, place)]
        return flow

    def _note(self, flow: Flow, node: Any, place: int, direct: bool) -> None:
        operator = node.op_type
        if place in SIZES.get(operator, ()):
            flow.size = True
        if INDICES.get(operator) == place:
            flow.indexed |= set(self._axis_sizes(node))
        flow.missing |= operator in LOOKING_FOR_NAN
        if direct:
            flow.keys |= set(categories.known(_listed(node)))
        flow.infinite |= operator == "IsInf"
        if DIVISORS.get(operator) == place:
            flow.divides |= direct
            flow.divides_computed |= not direct
        if operator in COMPARING:
            for other, name in enumerate(node.input):
                if other != place:
                    numbers = list(self._numbers(name))
                    ordered = operator not in ("Div", "Mod", "Sub", "Add", "Mul", "Where")
                    (flow.compared if direct and ordered else flow.constants).update(numbers)
        if operator in ("Clip", "ThresholdedRelu", "Binarizer"):
            limits = [each.f for each in node.attribute if each.name in ("min", "max", "alpha", "threshold")]
            (flow.compared if direct else flow.constants).update(limits)

    def _axis_sizes(self, node: Any) -> Iterator[int]:
        data = self.constants.get(node.input[0])
        if node.op_type == "OneHot":
            yield from (int(each) for each in self._numbers(node.input[1]))
        elif data is not None and data.dims:
            axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
            yield data.dims[axis] if node.op_type != "GatherND" else data.dims[0]

    def _numbers(self, name: str) -> Iterator[float]:
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type == TEXT or np.prod(tensor.dims, dtype=float) > MOST:
            return
        from onnx import numpy_helper

        values = numpy_helper.to_array(tensor, str(self.folder)).ravel()
        if values.dtype.kind in "fiu":
            yield from (float(each) for each in values[:MOST] if np.isfinite(each))


def _listed(node: Any) -> dict[str, Any]:
    """Return the attributes of a node that are lists of texts or numbers."""
    lists = {each.name: list(each.strings or each.ints or each.floats) for each in node.attribute}
    return {name: values for name, values in lists.items() if values}


def _reached(node: Any, place: int) -> Iterator[str]:
    """Yield the tensors that an operand's values may be in afterwards; inputs of graphs within the node too."""
    yield from filter(None, node.output)
    for graph in inner_graphs(node):
        if place < len(graph.input):
            yield graph.input[place].name
