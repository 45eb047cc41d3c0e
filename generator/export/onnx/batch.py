"""A fixed batch made dynamic: the nodes that keep its size are found by shape inference, and changed.

Whether all of them were found is tested by running the model: see ``batch_proof``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

from modelrepo.generator.export.onnx.batch_shapes import Graph, Shape, depending
from modelrepo.generator.graphs.walk import graphs, stays_fixed

BATCH = "batch"
# The suffix of an output's name before its fixed batch is repeated.
KEPT = f"_{BATCH}_fixed"
# The end of a slice that includes everything.
END = 2**63 - 1
# Operators that repeat a dimension of 1 to fit another input's, but no other fixed size.
BROADCASTING = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Max", "Mean", "Min"),
    *("Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
)


@dataclass(frozen=True)
class Place:
    """The place of the batch in a tensor: its axis, and ``inner`` elements of another dimension merged before it."""

    axis: int
    inner: int = 1


def make_dynamic(model: Any, batch: int, folder: Path) -> str:
    """Rewrite an ``onnx.ModelProto`` whose inputs have ``batch`` as their first dimension; return a note on it.

    ``model`` is changed in place; its external data lies in ``folder``. Raises ConversionError for an output without
    that first dimension, and for a node that does not return a value for each sample.
    """
    _name_apart(model.graph)
    rewriting = _Rewriting(model, batch, folder)
    while rewriting.advance():
        pass
    rewriting.write_back(model)
    rewriting.check_apart()
    changed = ", ".join(f"{count} {operator}" for operator, count in sorted(rewriting.changed.items()))
    return f"its batch of {batch} was made dynamic" + (f" by changing {changed}" if changed else "")


class _Rewriting(Graph):
    """A graph during its rewriting: ``places`` are those of the batch in its tensors."""

    def __init__(self, model: Any, batch: int, folder: Path) -> None:
        super().__init__(model, batch, folder)
        self.outputs = [value.name for value in model.graph.output]
        self.changed, self.done = Counter[str](), set[str]()
        self.places: dict[str, Place] = {}
        self.chosen: dict[str, Place] = {}
        self.taken = set(_names(self.model))
        self.added: list[Any] = []
        self.first_of_all: list[Any] = []
        self.size = ""

    def advance(self) -> bool:
        """Change the first node that keeps the batch from growing; False if there is none."""
        self.infer()
        self.places = {**dict.fromkeys(self.inputs, Place(0)), **self.chosen}
        folded = False
        for index, node in enumerate(self.nodes):
            if folded and not all(self.before.keys() & self.after.keys() & {name} for name in node.output if name):
                return True  # the folded constants may make more of it known
            if not self.done.issuperset(node.output) and self._change(node):
                self._insert(index, node)
                return True
            self._follow(node)
            folded |= self.fold(index, node)
        return folded or any(map(self._repeat_output, self.outputs))

    def check_apart(self) -> None:
        """Raise ConversionError for the first node whose output is no larger for a larger batch.

        Its output mixes samples, or is that of the first one. Inputs that show this may be rare: a class that noise is
        never classified as, a value above a limit.
        """
        known = self.before.keys() & self.after.keys() & depending(self.nodes, self.inputs)
        for node in self.nodes:
            for name in node.output:
                if name in known and self.before[name] == self.after[name]:
                    raise stays_fixed(mixing(node, name.removesuffix(KEPT)))

    def _insert(self, index: int, changed: Any) -> None:
        """Insert the nodes that a change has added before the one at ``index``."""
        self.done.update(changed.output)
        self.changed[changed.op_type] += 1
        self.nodes[index:index] = self.added
        self.nodes[:0] = self.first_of_all
        self.added, self.first_of_all = [], []

    def write_back(self, model: Any) -> None:
        """Write the nodes back into the model, and declare its inputs and outputs again."""
        del model.graph.node[:], model.graph.value_info[:], model.functions[:], model.opset_import[:]
        model.graph.node.extend(self.nodes)
        model.opset_import.extend(self.model.opset_import)
        for role, names, values in (
            ("input", self.inputs, model.graph.input),
            ("output", self.outputs, model.graph.output),
        ):
            for value in values:
                if value.name in names:
                    self._declare(role, value)
        used = {name for graph in graphs(model) for node in graph.node for name in node.input}
        for tensors in (model.graph.initializer, model.graph.input):  # shapes that others have replaced
            for index in reversed(range(len(tensors))):
                if tensors[index].name in self.constants and tensors[index].name not in used.union(self.outputs):
                    del tensors[index]

    def _declare(self, role: str, value: Any) -> None:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            for size in self.before.get(value.name, ()):
                tensor.shape.dim.add().dim_value = size
        dims = tensor.shape.dim
        if not dims or dims[0].dim_value not in (0, self.batch):
            shape = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims)
            raise stays_fixed(f"{role} {value.name}[{shape}] has no first dimension of {self.batch}")
        dims[0].dim_param = BATCH

    def _follow(self, node: Any) -> None:
        """Note the place of the batch in the outputs of a node, unless it is known."""
        given = [(self.before[name][self.places[name].axis], self.places[name].inner) for name in self._placed(node)]
        for name in node.output:
            axis = self.grown(name)
            if axis is not None and name not in self.places:
                inner = (inner for size, inner in given if size == self.before[name][axis])
                self.places[name] = Place(axis, next(inner, 1))

    def _placed(self, node: Any) -> list[str]:
        return [name for name in node.input if name in self.places and name in self.before]

    # Changes.

    def _change(self, node: Any) -> bool:
        """Change a node that keeps the batch from growing; return whether it was one."""
        data = self.places.get(node.input[0]) if node.input and node.input[0] in self.before else None
        changes: dict[str, Callable[[Any, Place], bool]] = {
            "Expand": self._expand,
            "Reshape": self._reshape,
            "Resize": self._resize,
            "Slice": self._slice,
            **dict.fromkeys(("GRU", "LSTM", "RNN"), self._recurrent),
        }
        if node.op_type == "Expand" and data is None:
            return self._narrow_expanded(node)
        if node.op_type in changes:
            return data is not None and changes[node.op_type](node, data)
        if node.op_type == "Concat":
            return self._concat(node)
        if node.op_type in ("GatherElements", "GridSample"):
            return self._repeat(node, dict.fromkeys((0, 1), 0)) if self._placed(node) else False
        return node.op_type in BROADCASTING and self._narrow(node)

    def _reshape(self, node: Any, data: Place) -> bool:
        source, target = self.before[node.input[0]], self.before.get(node.output[0])
        place = moved(data, source, target, self.batch) if target is not None else None
        if target is None or place is None or len(node.input) < 2:
            return False
        self.places[node.output[0]] = self.chosen[node.output[0]] = place
        if self.grows(node.output[0], place.axis):
            return False
        values = self.numbers(node.input[1])
        without_zeros = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(without_zeros)
        # A size of 0 is the input's, which may be the batch's.
        sizes = [target[axis] if not size and axis == data.axis else size for axis, size in enumerate(values)]
        if sizes and not any(size < 0 for size in (*sizes[: place.axis], *sizes[place.axis + 1 :])):
            sizes[place.axis] = -1
        elif sizes and data == place and source[data.axis] == target[place.axis]:
            sizes[place.axis] = 0
        else:
            node.input[1] = self._with_batch(node.input[1], place.axis, target)
            return True
        node.input[1] = self._constant(sizes)
        return True

    def _expand(self, node: Any, data: Place) -> bool:
        """Let an Expand keep the batch: a size of 1 changes nothing."""
        target, sizes = self.before.get(node.output[0], ()), self.numbers(node.input[1])
        axis = data.axis + len(target) - len(self.before[node.input[0]])
        written = axis - len(target) + len(sizes)
        if not sizes or not target or written < 0 or self.grows(node.output[0], axis):
            return False
        sizes[written] = 1
        node.input[1] = self._constant(sizes)
        return True

    def _narrow_expanded(self, node: Any) -> bool:
        """Reduce the input of an Expand to one sample if it holds the same for each, since the Expand repeats it."""
        name, sizes = node.input[0], self.values.get(node.input[1])
        if self.batch == 1 or sizes is None or name not in self.before:
            return False
        growing = [len(sizes[0]) - axis for axis in range(len(sizes[0])) if sizes[0][axis] != sizes[1][axis]]
        axes = [len(self.before[name]) - behind for behind in growing]
        if len(axes) != 1 or not self.fixed(name, axes[0]):
            return False
        node.input[0] = self._first(name, axes[0])
        return True

    def _resize(self, node: Any, data: Place) -> bool:
        whole = len(node.input) > 3 and node.input[3] and _attribute(node, "axes") is None
        if not whole or self.grows(node.output[0], data.axis):
            return False
        node.input[3] = self._with_batch(node.input[3], data.axis, self.before[node.output[0]])
        return True

    def _slice(self, node: Any, data: Place) -> bool:
        """Let a slice that takes all samples of the batch take all samples of a larger one."""
        if len(node.input) < 3 or self.grows(node.output[0], data.axis):
            return False
        starts, ends, axes = map(self.numbers, (*node.input[1:4], "")[:3])
        size = self.before[node.input[0]][data.axis]
        rank = len(self.before[node.input[0]])
        own = [axis % rank for axis in axes] or list(range(len(starts)))
        at = own.index(data.axis) if data.axis in own else None
        if at is None or not ends or starts[at] or ends[at] < size:
            return False
        node.input[2] = self._constant([*ends[:at], END, *ends[at + 1 :]])
        return True

    def _concat(self, node: Any) -> bool:
        axes = {self.places[name].axis for name in self._placed(node)}
        own = [(_attribute(node, "axis") or 0) % len(self.before[name]) for name in self._placed(node)]
        if len(axes) != 1 or own[0] in axes:
            return False
        return self._repeat(node, dict.fromkeys(range(len(node.input)), min(axes)))

    def _recurrent(self, node: Any, data: Place) -> bool:
        """Repeat the initial states of a recurrent layer, and the lengths of its sequences."""
        axis = 0 if _attribute(node, "layout") else 1
        return data == Place(axis) and self._repeat(node, {4: 0, 5: axis, 6: axis})

    def _repeat(self, node: Any, axes: Mapping[int, int]) -> bool:
        """Repeat the inputs of a node with a fixed batch for each sample; ``axes`` has the batch's axis by position."""
        fixed = [at for at, axis in axes.items() if at < len(node.input) and self.fixed(node.input[at], axis)]
        for at in fixed:
            node.input[at] = self._repeated(node.input[at], axes[at])
        return bool(fixed)

    def _narrow(self, node: Any) -> bool:
        """Reduce inputs that hold the same for each sample to one, since the operator repeats them itself."""
        behind = {len(self.before[name]) - self.places[name].axis for name in self._placed(node)}
        if self.batch == 1 or len(behind) != 1:
            return False
        axes = [len(self.before.get(name, ())) - min(behind) for name in node.input]
        fixed = [at for at, axis in enumerate(axes) if self.fixed(node.input[at], axis)]
        for at in fixed:
            node.input[at] = self._first(node.input[at], axes[at])
        return bool(fixed)

    def _repeat_output(self, name: str) -> bool:
        """Repeat an output that is the same for every sample, such as anchors."""
        made = next((node for node in self.nodes if name in node.output), None)
        if made is None or name in self.done or not self.fixed(name, 0):
            return False
        fixed = name + KEPT
        for node in self.nodes:
            node.input[:] = [fixed if each == name else each for each in node.input]
            node.output[:] = [fixed if each == name else each for each in node.output]
        self.before[fixed] = self.before[name]
        self._repeated(fixed, 0, name)
        self.done.add(name)
        self._insert(len(self.nodes), made)
        return True

    # Additions.

    def _add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        import onnx

        names = (f"{BATCH}/{operator}_{number}" for number in count())
        name = next(each for each in names if each not in self.taken)
        self.taken.add(name)
        self.added.append(onnx.helper.make_node(operator, list(inputs), [output or name], name=name, **attributes))
        return output or name

    def _constant(self, values: Iterable[int]) -> str:
        import numpy as np
        import onnx

        array = np.array(list(values), np.int64)
        name = self._add("Constant", [], value=onnx.numpy_helper.from_array(array))
        self.constants[name], self.values[name] = array, (array, array)
        return name

    def _batch_size(self) -> str:
        """Return the int64 tensor [1] with the size of the batch; it is computed before all other nodes."""
        if not self.size:
            others, self.added = self.added, []
            self.size = self._add("Gather", [self._add("Shape", [self.inputs[0]]), self._constant([0])], axis=0)
            self.first_of_all, self.added = self.added, others
        return self.size

    def _with_batch(self, sizes: str, axis: int, shape: Shape) -> str:
        """Return a tensor of sizes: the given ones, with that of the batch computed; it may be merged with another."""
        factor = shape[axis] // self.batch
        own = self._batch_size()
        parts = [own if factor == 1 else self._add("Mul", [own, self._constant([factor])])]
        if axis:
            parts.insert(0, self._add("Gather", [sizes, self._constant(range(axis))], axis=0))
        if axis + 1 < len(shape):
            parts.append(self._add("Gather", [sizes, self._constant(range(axis + 1, len(shape)))], axis=0))
        return self._add("Concat", parts, axis=0)

    def _first(self, name: str, axis: int) -> str:
        """Return the part of a tensor for the first sample."""
        return self._add("Gather", [name, self._constant([0])], axis=axis)

    def _repeated(self, name: str, axis: int, output: str = "") -> str:
        """Return the part of a tensor for the first sample, repeated for every sample."""
        behind = len(self.before[name]) - axis - 1
        one = name if self.batch == 1 else self._first(name, axis)
        parts = [[1] * axis, None, [1] * behind]
        sizes = [self._batch_size() if part is None else self._constant(part) for part in parts if part != []]
        return self._add("Expand", [one, self._add("Concat", sizes, axis=0)], output)


def mixing(node: Any, name: str) -> str:
    """Return the reason that a node with this output mixes samples."""
    return f"{node.op_type} {node.name or name!r} does not keep the samples of a batch apart"


def moved(data: Place, source: Shape, target: Shape, batch: int) -> Place | None:
    """Return the place of the batch after a Reshape of ``source`` to ``target``; None if it does not stay together.

    Elements before it in memory stay before it. If dimensions of 1 leave several places, a place in front and without
    merging is preferred, and the last axis, which layers compute over, comes last.
    """
    before = prod(source[: data.axis]) * data.inner
    places = [
        Place(axis, before // outer)
        for axis, size in enumerate(target)
        if before % (outer := prod(target[:axis])) == 0 and size % (before // outer * batch) == 0
    ]
    if data.inner == 1 and data in places and source[: data.axis + 1] == target[: data.axis + 1]:
        return data
    return min(places, key=lambda place: (place.axis == len(target) - 1, place.inner > 1, place.axis), default=None)


def _name_apart(graph: Any) -> None:
    """Insert a node before each output that is an initializer."""
    import onnx

    outputs = {value.name for value in graph.output}
    for tensor in graph.initializer:
        if tensor.name in outputs:
            name, tensor.name = tensor.name, f"{tensor.name}/{BATCH}"
            for value in graph.input:  # IR 3 lists it as an input
                value.name = tensor.name if value.name == name else value.name
            graph.node.insert(0, onnx.helper.make_node("Identity", [tensor.name], [name], name=name))


def _names(model: Any) -> Iterator[str]:
    """Yield every name of a node or a tensor."""
    for graph in graphs(model):
        for node in graph.node:
            yield from (node.name, *node.input, *node.output)


def _attribute(node: Any, name: str) -> Any:
    """Return the integer, or the integers, of an attribute; None if the node does not have it."""
    import onnx

    found = [attribute for attribute in node.attribute if attribute.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else None
