"""Constants that FP16 can't hold: masks get the value that has their effect there, others are computed with in FP32."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.graphs.walk import graphs, reads
from modelrepo.generator.optimize.half import MOVING

LARGEST, SMALLEST = 65504.0, 2.0**-24
# Larger numbers stand for infinity, as in attention masks; the largest FP16 works as well.
INFINITE = 1e30
# A mask in FP16. Half of the range is left, so that adding scores does not make infinities of a whole row, which would
# be NaN; at this size FP16 has steps of 32, so what is added hardly shows, as beside -1e9 in FP32.
MASKED = 2.0**15
# Operators whose answers are as large as what they get, more or less.
PASSING = MOVING | {"Add", "Clip", "Div", "LogSoftmax", "Max", "Min", "Mul", "Neg", "Sub", "Sum", "Trilu", "Where"}
# Operators for which the largest negative and positive numbers are alike.
DECIDING = {
    *("ArgMax", "ArgMin", "Exp", "Hardmax", "MaxPool", "ReduceLogSumExp", "ReduceMax", "Sigmoid", "Softmax", "Tanh"),
}
# Operators that make a large answer of a tiny number.
ENLARGING = {"Log"}


@dataclass(frozen=True)
class Beyond:
    """What was done about a model's constants: the nodes to compute in FP32, and those of masks, which may be."""

    precise: tuple[str, ...] = ()
    masking: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Followed:
    """The nodes that a constant's values go through, and whether all of these ways end in a decision."""

    nodes: tuple[str, ...]
    decided: bool
    enlarged: bool


def treat(model: Any, kept: Collection[str]) -> Beyond:
    """Give masks, in place, the value that they need in FP16, and return the nodes that other constants need in FP32.

    A constant whose values only nodes in ``kept`` compute with stays as it is. Raises ConversionError for a constant
    that is too large in the graph of another node, where no node can stay in FP32.
    """
    followed = _Following(model)
    outermost = {node.name for node in model.graph.node}
    precise: dict[str, None] = {}
    masking: dict[str, None] = {}
    for place, tensor, largest in _outside(model):
        found = followed.of(place)
        if set(found.nodes) <= set(kept):
            continue
        if found.decided and largest > LARGEST:
            _saturate(tensor)
            masking |= dict.fromkeys(name for name in found.nodes if name in outermost)
        elif LARGEST < largest < INFINITE:
            if not outermost.issuperset(found.nodes):
                raise ConversionError(
                    f"the weights {place!r} reach {largest:.3g}, but FP16 ends at {LARGEST:.0f}", "Use bf16"
                )
            precise |= dict.fromkeys(found.nodes)
        elif largest < SMALLEST and found.enlarged and outermost.issuperset(found.nodes):
            precise |= dict.fromkeys(found.nodes)
    return Beyond(tuple(precise), tuple(masking))


def _outside(model: Any) -> Iterator[tuple[str, Any, float]]:
    """Yield the place, the tensor and the largest number of each FP32 constant that FP16 can't hold."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    for place, tensor in edit.places(model).items():
        if tensor.data_type != TensorProto.FLOAT:
            continue
        sizes = np.abs(numpy_helper.to_array(tensor))
        sizes = sizes[np.isfinite(sizes)]
        usual = float(sizes.max(initial=0.0, where=sizes < INFINITE))
        largest = usual if usual > LARGEST else float(sizes.max(initial=0.0))
        if largest > LARGEST or 0 < largest < SMALLEST:
            yield place, tensor, largest


def _saturate(tensor: Any) -> None:
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    outside = np.isfinite(values) & (np.abs(values) > LARGEST)
    edit.set_values(tensor, np.where(outside, np.sign(values) * np.float32(MASKED), values).astype(np.float32))


class _Following:
    """Where the values of a model's constants go."""

    def __init__(self, model: Any) -> None:
        self.readers_of: Mapping[str, list[Any]] = defaultdict(list)
        self.made_by = {node.name: node for node in edit.nodes(model)}
        self.results = {value.name for graph in graphs(model) for value in _results(graph)}
        for node in edit.nodes(model):
            for name in set(reads(node)):
                self.readers_of[name].append(node)

    def of(self, place: str) -> _Followed:
        """Return the nodes that the values of a constant go through, with the first that is of another kind."""
        waiting = self._tensors(place)
        first = set(waiting)
        nodes: dict[str, None] = {}
        decided, enlarged = True, False
        while waiting:
            name = waiting.pop()
            decided &= name not in self.results
            for node in self.readers_of[name]:
                passes, decides = node.op_type in PASSING, node.op_type in DECIDING
                enlarged |= node.op_type in ENLARGING
                decided &= passes or decides
                if (passes or (name in first and not decides)) and node.name not in nodes:
                    waiting += node.output
                if passes or decides or node.op_type in ENLARGING or name in first:
                    nodes[node.name] = None
        return _Followed(tuple(nodes), decided, enlarged)

    def _tensors(self, place: str) -> list[str]:
        """Return the tensors that hold a constant: an initializer, or what the node that holds it makes."""
        node = self.made_by.get(place.rpartition(".")[0])
        return [place] if node is None or place in self.readers_of else list(node.output)


def _results(graph: Any) -> Iterator[Any]:
    return (value for value in graph.output if hasattr(value, "name"))  # those of functions are names
