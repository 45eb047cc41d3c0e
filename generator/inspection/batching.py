"""Whether the samples of a batch stay apart in an ONNX graph, as its shapes and operators tell, without running it.

Shapes are inferred for two sizes of the batch (see ``batch_shapes``), which shows the batch's axis in each tensor. A
node that is given the batch and returns less than a value for each sample, or that computes along that axis, mixes
samples. Where the axis is lost from sight, nothing is claimed.
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.onnx.batch import Place, mixing, moved
from modelrepo.generator.export.onnx.batch_shapes import SIZES_ONLY, Graph, depending
from modelrepo.generator.graphs.edit import DEFAULT_DOMAINS
from modelrepo.generator.graphs.walk import graphs, inner_graphs, reads
from modelrepo.generator.inspection.inspection import Batching, Tensor
from modelrepo.generator.sources.onnx import trains

# Many numbers divide it, so that a Reshape that puts samples together is one that can be followed.
BATCH = 2520
RESHAPING = ("Reshape", "Flatten")
# Operators that compute along the axis in their attribute, which has this value if it is not written.
ALONG = {
    **{"LogSoftmax": -1, "Softmax": -1, "Hardmax": -1, "LpNormalization": -1, "TopK": -1, "GatherElements": 0},
    **{"Gather": 0, "ScatterElements": 0, "Scatter": 0, "Unique": 0, "Compress": 0, "ArgMax": 0, "ArgMin": 0},
}
# Those among them whose other inputs say what they take, which may well be a value of the same sample.
PICKING = ("Gather", "GatherElements", "ScatterElements", "Scatter", "Compress", "Unique")
# Those that compute over their axis and all behind it; the first three did so before opset 13, with 1 as their axis.
FROM_AXIS = {"LayerNormalization": -1, "RMSNormalization": -1}
FLATTENING, UNTIL = ("LogSoftmax", "Softmax", "Hardmax"), 13
# Those that take their first axis as the batch.
BATCH_FIRST = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool"),
    *("GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool", "SpaceToDepth"),
)
RECURRENT = ("GRU", "LSTM", "RNN")
# A crash of onnx's shape inference: see ``edit.infer_shapes``.
CRASHING = "LabelEncoder"
# Times that computed sizes are looked for.
ROUNDS = 4
# Open sizes other than the batch are multiples of this: convolutions halve them, and positions are limited.
STEP = 64
ASK = "`modelrepo generate` decides it by running the model"
APART = "every node keeps the samples of a batch apart, as shapes and operators tell"
RENAME = "; its first dimensions have no name or several, so `modelrepo generate` needs --make-batch-dynamic"
MEND = "; if that is a batch, `modelrepo generate --make-batch-dynamic` makes it any size"


@dataclass(frozen=True)
class Fault:
    """What keeps samples from being stacked; unless it is ``sure``, what is not known of it."""

    by: str
    reason: str
    sure: bool = True


def judged(
    model: Any, path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], whole: Collection[str] = ()
) -> Batching:
    """Return whether requests to an ONNX model can be stacked. ``model`` is an outline, its weights beside ``path``.

    ``whole`` are tensors of whole numbers or truth values: lengths, masks and places, such as those by which recurrent
    layers sort a batch and undo it. What mixes them need not mix what is computed of the samples.
    """
    given = [each for each in inputs if not each.optional]
    declared = _declared(given, outputs)
    if declared is not None:
        return declared
    fault = _fault(model, path, whole)
    if fault is not None and fault.sure:
        return Batching("no", fault.by, fault.reason)
    if fault is not None:
        return Batching("unknown", fault.by, f"{fault.reason}: {ASK}")
    names = {each.shape[0] for each in (*given, *outputs) if each.shape}
    rename = RENAME if len(names) > 1 or None in names else ""
    return Batching("yes", ", ".join(each.name for each in given), f"{APART}{rename}")


def _fault(model: Any, path: Path, whole: Collection[str]) -> Fault | None:
    """Return what keeps the samples of a batch from staying apart; None if nothing does."""
    crashing = next((node for graph in graphs(model) for node in graph.node if node.op_type == CRASHING), None)
    if crashing is not None:
        return Fault(label(crashing), f"shapes behind {named(crashing)} are not followed", sure=False)
    try:
        with warnings.catch_warnings(action="ignore"):  # onnx's, of keys of external data that it does not know
            apart, found = _Apart(_with_sizes(model), BATCH, path.parent), None
        for _ in range(ROUNDS):
            apart.infer()
            faults = list(apart.faults(whole))
            found = next((each for each in faults if each.sure), next(iter(faults), None))
            if found is None or found.sure or not apart.fold_all():
                break
    except ConversionError as error:
        return Fault("", error.message.partition(": ")[2] or error.message, sure=False)
    except Exception as error:  # of the library's own, for a graph that it can't follow
        return Fault("", f"shapes can't be inferred ({type(error).__name__})", sure=False)
    return found


def _declared(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Batching | None:
    """Return what the declared first dimensions decide; None if they are open."""
    if not inputs or not outputs:
        return Batching("no", "", f"it has no {'outputs' if inputs else 'inputs that a request must give'}")
    named = [(f"input {each.name!r}", each) for each in inputs]
    named += [(f"output {each.name!r}", each) for each in outputs]
    first = [tensor.shape[0] if tensor.shape else None for _, tensor in named]
    for name, tensor in named:
        if tensor.shape is None:
            return Batching("unknown", tensor.name, f"{name} declares no shape: {ASK}")
        if not tensor.shape:
            return Batching("no", tensor.name, f"{name} is a scalar, without a first dimension")
        if isinstance(tensor.shape[0], int):
            mend = MEND if len(set(first)) == 1 else ""
            return Batching("no", tensor.name, f"the first dimension of {name} is always {tensor.shape[0]}{mend}")
    (own, one), *others = named[: len(inputs)]
    for name, other in others:
        if _name(other) != _name(one):
            said = f"the first dimension of {own} is {_name(one)}, that of {name} {_name(other)}"
            return Batching("unknown", other.name, f"{said}, which need not be the same: {ASK}")
    return None


def _name(tensor: Tensor) -> str:
    return str((tensor.shape or (None,))[0] or "open")


def _with_sizes(model: Any) -> Any:
    """Return a copy of a model whose open dimensions have a size, except for the first ones."""
    import onnx

    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    sizes: dict[str, int] = {}
    for value in sized.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis and not dim.HasField("dim_value"):
                name = dim.dim_param or f"{value.name}_{axis}"
                dim.dim_value = sizes.setdefault(name, STEP * (len(sizes) + 1))
    return sized


class _Apart(Graph):
    """The nodes of a graph that depend on its inputs, and the place of the batch in their tensors."""

    def fold_all(self) -> bool:
        """Replace the nodes that compute sizes by constants; return whether there was one."""
        folded = [self.fold(index, node) for index, node in enumerate(self.nodes)]
        return any(folded)

    def faults(self, whole: Collection[str]) -> Iterator[Fault]:
        """Yield what mixes samples, what loses sight of them, and outputs without a value for each, in order."""
        places = dict.fromkeys(self.inputs, Place(0))
        dependent = depending(self.nodes, self.inputs)
        for node in self.nodes:
            if dependent.isdisjoint(reads(node)) or _sizes(node):
                continue
            unsure = any(name in whole for name in node.input[:1])
            yield from (replace(each, sure=each.sure and not unsure) for each in self._faults_of(node, places))
            self._follow(node, places)
        for value in self.model.graph.output:
            yield from self._faults_of_output(value.name, places)

    def _faults_of(self, node: Any, places: Mapping[str, Place]) -> Iterator[Fault]:
        by = label(node)
        if inner_graphs(node):
            yield Fault(by, f"{named(node)} has graphs of its own, which are not followed", sure=False)
        for name in node.output:
            if name and (name not in self.before or name not in self.after):
                yield Fault(by, f"the shape behind {named(node)} is not known before it runs", sure=False)
            elif name and self.grown(name) is None:
                yield Fault(by, mixing(node, name))
        if self._changes_the_number(node, places):
            yield Fault(by, f"the batch behind {named(node)} has another number of samples", sure=False)
        given = [name for name in node.input[:1] if name in places and name in self.before]
        reshaped = node.op_type in RESHAPING and given and node.output[0] in self.before
        if reshaped and self._moved(node, places[given[0]]) is None:
            yield Fault(by, mixing(node, node.output[0]))
        for name in given if node.domain in DEFAULT_DOMAINS else ():
            yield from self._along(node, places[name].axis, len(self.before[name]))

    def _changes_the_number(self, node: Any, places: Mapping[str, Place]) -> bool:
        """Whether the batch's axis has another size behind a node that does not reshape, such as a Tile."""
        given = [each for each in node.input if each in places and each in self.before]
        sizes = {self.before[each][places[each].axis] for each in given}
        grown = {name: self.grown(name) for name in node.output if name in self.before}
        axes = {self.before[name][axis] for name, axis in grown.items() if axis is not None}
        return node.op_type not in RESHAPING and bool(sizes) and not axes <= sizes

    def _along(self, node: Any, axis: int, rank: int) -> Iterator[Fault]:
        """Yield the fault of a node that computes along the batch, which is in this axis of its first input."""
        if axis and node.op_type in BATCH_FIRST:
            yield Fault(label(node), f"{named(node)} takes its first axis as the batch, which is in axis {axis} there")
        elif any(each % rank == axis for each in self._axes(node, rank) if -rank <= each < rank):
            picks = node.op_type in PICKING  # transformers pick each sample's own mask so
            verb = "picks values along" if picks else "computes along"
            yield Fault(label(node), f"{named(node)} {verb} the batch", sure=not picks)

    def _faults_of_output(self, name: str, places: Mapping[str, Place]) -> Iterator[Fault]:
        if name not in self.before or name not in self.after:
            yield Fault(name, f"the shape of output {name!r} is not known before it runs", sure=False)
        elif self.grown(name) != 0:
            yield Fault(name, f"output {name!r} has no value for each sample of a batch")
        elif self.before[name][0] != self.batch or places.get(name, Place(0)).inner > 1:
            yield Fault(name, f"the first dimension of output {name!r} is not that of the batch")

    def _follow(self, node: Any, places: dict[str, Place]) -> None:
        """Note the place of the batch in the outputs of a node."""
        given = [each for each in node.input if each in places and each in self.before]
        sizes = {self.before[each][places[each].axis]: places[each].inner for each in reversed(given)}
        for name in node.output:
            axis = self.grown(name)
            if axis is not None:
                places[name] = Place(axis, sizes.get(self.before[name][axis], 1))
        if node.op_type in RESHAPING and given[:1] == list(node.input[:1]) and node.output[0] in self.before:
            place = self._moved(node, places[given[0]])
            if place is not None:
                places[node.output[0]] = place

    def _moved(self, node: Any, place: Place) -> Place | None:
        """Return the place of the batch behind a Reshape; None if its samples do not stay apart."""
        source, target = self.before[node.input[0]], self.before[node.output[0]]
        found = moved(place, source, target, self.batch)
        return found if found is not None and found.axis == self.grown(node.output[0]) else None

    def _axes(self, node: Any, rank: int) -> Iterable[int]:
        """Return the axes that a node computes along."""
        kind, opset = node.op_type, max((self.opsets.get(domain, 0) for domain in DEFAULT_DOMAINS), default=0)
        if kind in FLATTENING and opset < UNTIL:
            return range(_integer(node, "axis", 1) % rank, rank)
        if kind in FROM_AXIS:
            return range(_integer(node, "axis", FROM_AXIS[kind]) % rank, rank)
        if kind in RECURRENT:
            return (0,) if not _integer(node, "layout", 0) else (1,)
        if kind == "ReverseSequence":
            return (_integer(node, "time_axis", 0),)
        if kind == "CumSum":
            return self.numbers(node.input[1])
        if kind == "Slice" and len(node.input) > 4:  # with steps: one that turns the order round
            axes, steps = self.numbers(node.input[3]), self.numbers(node.input[4])
            return [each for each, step in zip(axes, steps, strict=False) if step != 1]
        return (_integer(node, "axis", ALONG[kind]),) if kind in ALONG else ()


def _sizes(node: Any) -> bool:
    return node.op_type in SIZES_ONLY and node.domain in DEFAULT_DOMAINS


def _integer(node: Any, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)


def label(node: Any) -> str:
    """Return the name of a node, or that of its first output if it has none."""
    return str(node.name or next((name for name in node.output if name), node.op_type))


def named(node: Any) -> str:
    """Return the operator and the name of a node, for a sentence."""
    return f"{node.op_type} {label(node)!r}"


def training(model: Any) -> Iterator[Any]:
    """Yield the nodes in training mode, which normalise by the batch or draw random numbers."""
    return (node for graph in graphs(model) for node in graph.node if trains(node, graph))
