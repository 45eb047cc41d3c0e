"""The behaviours that runs of an ONNX graph show: the graph is run with taps on the tensors that tell them.

Taps on activations keep the smallest and largest value only, computed in the graph, so that a large model's memory
stays what it is. The graphs within If and Loop run by themselves, as models of their own, with what they read from
outside as inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from modelrepo.generator.coverage.behaviours import SHAPE, SPAN, VALUES, Row, rows_of
from modelrepo.generator.coverage.flows import ENDING
from modelrepo.generator.coverage.places import place_of
from modelrepo.generator.coverage.trees import MISSING
from modelrepo.generator.graphs import outline, runtime
from modelrepo.generator.graphs.edit import FIRST_IR_WITH_CONSTANTS
from modelrepo.generator.graphs.walk import inner_graphs, reads
from modelrepo.generator.specs.tensors import Arrays

# The turns of a loop that are followed, and the graphs within graphs.
MOST_TURNS, MOST_DEPTH = 64, 4
# Tensors of the graph's own constants up to this many elements are read.
SMALL = 1 << 16
# The most unseen behaviours of a node that are listed by name.
LISTED = 4
BRANCHES, TURNS = ("then", "else"), ("no turn", "one turn", "several turns")


class Unseen(Exception):
    """A graph can't be observed; the message says why."""


@dataclass
class Tally:
    """The behaviours of one node, and which of them were seen; none before it ran once."""

    place: str
    names: Sequence[str]
    seen: Any


@dataclass
class Observer:
    """Runs a graph and notes which behaviours its nodes show, but for those whose names begin with one of ``beside``.

    The graphs before and after a model are beside it: they are compared, and have no behaviours to be reached.
    """

    path: Path
    takes_missing: bool = False  # whether NaN is among the values that its inputs may have
    beside: tuple[str, ...] = ()
    tallies: dict[tuple[str, int], Tally] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    _graph: "_Graph | None" = None

    def observe(self, arrays: Arrays) -> bool:
        """Run the graph on named inputs; return whether a behaviour was seen for the first time."""
        if self.reasons:
            return False
        try:
            if self._graph is None:
                self._graph = _Graph(_whole(self.path), self, "", self.path.parent, {}, 0)
            _, news = self._graph.run(arrays)
        except Unseen as error:
            self.reasons.append(str(error))
            return False
        return news

    def note(self, key: tuple[str, int], place: str, names: Sequence[str], shown: Any) -> bool:
        """Note the behaviours that a node shows; return whether one is new."""
        shown = np.asarray(shown, bool)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally(place, names, np.zeros(len(shown), bool))
        news = bool((shown & ~tally.seen).any())
        tally.seen |= shown
        return news

    def counted(self) -> tuple[int, int, tuple[str, ...]]:
        """Return how many behaviours there are, how many were seen, and the others in words."""
        count = seen = 0
        missing: list[str] = []
        for tally in self.tallies.values():
            unseen = [name for name, each in zip(tally.names, tally.seen, strict=True) if not each]
            if not self.takes_missing:
                unseen = [name for name in unseen if not name.startswith(MISSING)]
            seen += int(tally.seen.sum())
            count += int(tally.seen.sum()) + len(unseen)
            if len(unseen) > LISTED:
                missing.append(f"{tally.place}: {len(unseen)} of {len(tally.names)}, such as {unseen[0]}")
            else:
                missing += [f"{tally.place}: {name}" for name in unseen]
        return count, seen, tuple(missing)

    @property
    def complete(self) -> bool:
        """Whether every behaviour was seen; it is asked for every row, so it ends at the first that was not."""
        return all(tally.seen.all() or self._is_seen(tally) for tally in self.tallies.values())

    def _is_seen(self, tally: Tally) -> bool:
        unseen = (name for name, each in zip(tally.names, tally.seen, strict=True) if not each)
        return not self.takes_missing and all(name.startswith(MISSING) for name in unseen)

    def nodes(self) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Yield the nodes of the main graph that have behaviours, with their attributes."""
        for tap in self._graph.taps if self._graph else ():
            yield tap.node, tap.attributes

    def seen_of(self, node: Any) -> Any:
        """Return which behaviours of the first row about a node of the main graph were seen."""
        return self.tallies[node.output[0], 0].seen

    def operand(self, node: Any, arrays: Arrays) -> Any:
        """Return the first operand of a node of the main graph in a run on named inputs."""
        return self._graph.value(node.input[0], arrays) if self._graph else None


def _whole(path: Path) -> Any:
    """Return a model without its weights, its functions inlined."""
    model = outline.read(path)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


@dataclass(frozen=True)
class _Tap:
    node: Any
    attributes: Mapping[str, Any]
    row: Row
    number: int


class _Graph:
    """A graph with taps: the main one, or one within a node, as a model of its own."""

    def __init__(
        self, model: Any, observer: Observer, path: str, folder: Path, constants: Mapping[str, Any], depth: int
    ) -> None:
        self.model, self.observer, self.path, self.folder, self.depth = model, observer, path, folder, depth
        self.constants = {**constants, **{tensor.name: tensor for tensor in model.graph.initializer}}
        self.outputs = [value.name for value in model.graph.output]
        told = _told(model.graph)
        observed = [node for node in model.graph.node if not node.name.startswith(observer.beside)]
        self.taps = [
            _Tap(node, attributes, row, number)
            for node in observed
            for number, row in enumerate(rows_of(node.op_type))
            if told.intersection(node.input if row.decisive is None else [node.input[row.decisive]])
            for attributes in [_attributes(node)]
        ]
        self.controls = [node for node in observed if node.op_type in ("If", "Loop")] if depth < MOST_DEPTH else []
        self.made = {name for node in model.graph.node for name in node.output if name}
        self.inner: dict[str, _Graph] = {}
        self.arrays: dict[str, Any] = {}
        self.session: Any = None
        self.fetched: list[str] = []

    def run(self, arrays: Arrays) -> tuple[list[Any], bool]:
        """Run the graph, note what it shows, and return its outputs and whether something is new."""
        found = self._ran(arrays)
        news = False
        for tap in self.taps:
            operands = [self._operand(tap, place, found, arrays) for place in range(len(tap.row.reads))]
            shown = None if operands[0] is None and tap.row.reads[0] else tap.row.seen(tap.attributes, operands)
            if shown is not None:
                key = (self.path + (tap.node.output[0] or tap.node.name), tap.number)
                known = key in self.observer.tallies
                names = self.observer.tallies[key].names if known else tap.row.names(tap.attributes)
                news |= self.observer.note(key, place_of(tap.node), names, shown)
        for node in self.controls:
            news |= self._branch(node, found, arrays) if node.op_type == "If" else self._loop(node, found, arrays)
        return [found[name] if name in found else arrays[name] for name in self.outputs], news

    def value(self, name: str, arrays: Arrays) -> Any:
        """Return a tensor of the graph in a run."""
        if name in arrays:
            return arrays[name]
        return self._ran(arrays)[name]

    def _operand(self, tap: _Tap, place: int, found: Mapping[str, Any], arrays: Arrays) -> Any:
        kind = tap.row.reads[place]
        name = tap.node.input[place] if kind and place < len(tap.node.input) else ""
        if not name:
            return None
        if kind == SPAN:
            ends = [found.get(f"{name}{end}") for end in ("/least", "/most")]
            return np.array(ends) if None not in ends else self._read(name, found, arrays)
        if kind == SHAPE:
            shape = found.get(f"{name}/shape")
            return shape if shape is not None else self._shape(name, found, arrays)
        return self._read(name, found, arrays)

    def _read(self, name: str, found: Mapping[str, Any], arrays: Arrays) -> Any:
        for known in (found, arrays):
            if name in known:
                return known[name]
        tensor = self.constants.get(name)
        if tensor is None or np.prod(tensor.dims, dtype=float) > SMALL:
            return None
        if name not in self.arrays:
            from onnx import numpy_helper

            self.arrays[name] = numpy_helper.to_array(tensor, str(self.folder))
        return self.arrays[name]

    def _shape(self, name: str, found: Mapping[str, Any], arrays: Arrays) -> Any:
        tensor = self.constants.get(name)
        if tensor is not None:
            return tuple(tensor.dims)
        value = self._read(name, found, arrays)
        return None if value is None else np.shape(value)

    def _ran(self, arrays: Arrays) -> dict[str, Any]:
        """Run the tapped graph, which is opened at the first run; Unseen if ONNX Runtime can't open or run it."""
        try:
            if self.session is None:
                self._open()
            return dict(zip(self.fetched, self.session.run(self.fetched, dict(arrays)), strict=True))
        except OSError:  # of the disk: with less coverage, another proof would be published
            raise
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise Unseen(f"the graph can't be observed: {runtime.reason(error)}") from error

    def _open(self) -> None:
        """Open the graph with its taps."""
        tapped = _copy(self.model)
        graph = tapped.graph
        known = {value.name for value in (*graph.output, *graph.input)} | {each.name for each in graph.initializer}
        self.fetched = [value.name for value in graph.output]
        for name in dict.fromkeys(self._wanted(VALUES)):
            if name in self.made and name not in known:
                self._expose(graph, name)
        for name in dict.fromkeys(self._wanted(SHAPE)):
            if name in self.made and name not in self.fetched:
                _add(graph, "Shape", [name], f"{name}/shape")
                self._expose(graph, f"{name}/shape")
        for name in dict.fromkeys(self._wanted(SPAN)):
            if name in self.made or name in {value.name for value in graph.input}:
                _add(graph, "Cast", [name], f"{name}/float", to=1)
                for operator, end in (("ReduceMin", "/least"), ("ReduceMax", "/most")):
                    _add(graph, operator, [f"{name}/float"], f"{name}{end}", keepdims=0)
                    self._expose(graph, f"{name}{end}")
        with NamedTemporaryFile(dir=self.folder, suffix=".observed") as file:
            file.write(tapped.SerializeToString())
            file.flush()
            self.session = runtime.open_session(Path(file.name), optimized=False, mapped=True)

    def _expose(self, graph: Any, name: str) -> None:
        from onnx import ValueInfoProto

        graph.output.append(ValueInfoProto(name=name))
        self.fetched.append(name)

    def _wanted(self, kind: str) -> Iterator[str]:
        """Yield the tensors that rows read in one way; those that graphs within read count as read by value."""
        for tap in self.taps:
            for name, each in zip(tap.node.input, tap.row.reads, strict=False):
                if name and each == kind:
                    yield name
        if kind == VALUES:
            for node in self.controls:
                yield from filter(None, node.input)
                yield from (name for inner in inner_graphs(node) for name in _captured(inner))

    def _branch(self, node: Any, found: Mapping[str, Any], arrays: Arrays) -> bool:
        condition = self._read(node.input[0], found, arrays)
        taken = bool(np.asarray(condition).ravel()[0])
        key = (self.path + node.output[0], 0)
        news = self.observer.note(key, place_of(node), BRANCHES, [taken, not taken])
        graph = next(each.g for each in node.attribute if each.name == f"{BRANCHES[not taken]}_branch")
        return self._inside(node, graph, {}, found, arrays)[1] or news

    def _loop(self, node: Any, found: Mapping[str, Any], arrays: Arrays) -> bool:
        most, going, *carried = (
            (self._read(name, found, arrays) if name else None)
            for name in [*node.input, "", ""][: max(2, len(node.input))]
        )
        body = next(each.g for each in node.attribute if each.name == "body")
        limit = MOST_TURNS if most is None else min(int(np.asarray(most).ravel()[0]), MOST_TURNS)
        keep = going is None or bool(np.asarray(going).ravel()[0])
        turns, news = 0, False
        while turns < limit and keep:
            values = [np.array(turns, np.int64), np.array(keep), *carried]
            given = dict(zip((value.name for value in body.input), values, strict=False))
            outputs, new = self._inside(node, body, given, found, arrays)
            news |= new
            turns += 1
            if outputs is None:
                break
            keep, carried = bool(np.asarray(outputs[0]).ravel()[0]), list(outputs[1 : 1 + len(carried)])
        key = (self.path + node.output[0], 0)
        return self.observer.note(key, place_of(node), TURNS, [turns == 0, turns == 1, turns > 1]) or news

    def _inside(
        self, node: Any, graph: Any, given: Mapping[str, Any], found: Mapping[str, Any], arrays: Arrays
    ) -> tuple[list[Any] | None, bool]:
        """Run a graph within a node; None as its outputs if it reads what can't be given to a model."""
        feeds = dict(given)
        constants = {}
        for name in _captured(graph):
            if name in self.constants and name not in found and name not in arrays:
                constants[name] = self.constants[name]
            elif name not in feeds:
                feeds[name] = self._read(name, found, arrays)
        if not all(isinstance(value, np.ndarray | np.generic) for value in feeds.values()):
            return None, False
        key = f"{self.path}{node.output[0]}/{graph.name}"
        inner = self.inner.get(key)
        if inner is None:
            model = _as_model(self.model, graph, feeds, constants)
            inner = self.inner[key] = _Graph(
                model, self.observer, f"{key}/", self.folder, self.constants, self.depth + 1
            )
        try:
            return inner.run({name: np.asarray(value) for name, value in feeds.items()})
        except Unseen:
            return None, False


def _told(graph: Any) -> set[str]:
    """Return the tensors whose values depend on those of the inputs, and not on their sizes alone."""
    told = {value.name for value in graph.input}
    for node in graph.node:
        if node.op_type not in ENDING and told.intersection(reads(node)):
            told |= {name for name in node.output if name}
    return told


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import AttributeProto, helper, numpy_helper

    found = {}
    for each in node.attribute:
        if each.type == AttributeProto.TENSOR:
            found[each.name] = numpy_helper.to_array(each.t)
        elif each.type not in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            found[each.name] = helper.get_attribute_value(each)
    return found


def _captured(graph: Any) -> list[str]:
    """Return the tensors that a graph within a node reads from outside."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    wanted = [name for node in graph.node for name in reads(node)] + [value.name for value in graph.output]
    nested = {name for node in graph.node for inner in inner_graphs(node) for name in _all_made(inner)}
    return [name for name in dict.fromkeys(wanted) if name and name not in own and name not in nested]


def _all_made(graph: Any) -> Iterator[str]:
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from node.output
        for inner in inner_graphs(node):
            yield from _all_made(inner)


def _as_model(outer: Any, graph: Any, feeds: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """Return a model of a graph within a node, whose inputs are what it gets and what it reads from outside."""
    from onnx import ModelProto, helper

    model = ModelProto(ir_version=max(outer.ir_version, FIRST_IR_WITH_CONSTANTS))
    model.opset_import.extend(outer.opset_import)
    model.graph.CopyFrom(graph)
    del model.graph.input[:]
    for name, value in feeds.items():
        info = model.graph.input.add(name=name)  # without a shape: sizes may change from run to run
        info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    model.graph.initializer.extend(constants.values())
    return model


def _copy(model: Any) -> Any:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def _add(graph: Any, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
    from onnx import helper

    graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
