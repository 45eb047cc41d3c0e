"""Values of the inputs that become part of a recording: a branch that is taken, a number that is computed with.

TorchScript's tracer warns of them, and of sizes in the same words (pytorch/pytorch#58368, #68724). Which of the two it
is follows from the graph that has been recorded so far.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from modelrepo.generator.export.torch.checks import is_caught, is_check, is_harmless
from modelrepo.generator.sources.pytorch.places import Place, here, is_models, stack
from modelrepo.generator.sources.pytorch.reads import Read, reading

# The node of a submodule's forward, with a graph of its own that reads the values around it.
SUBMODULE = "prim::TracedModuleForward"
# Operators that take the shape of their first input only.
OF_SHAPES = {
    *("aten::size", "aten::numel", "aten::dim", "aten::len", "aten::stride", "aten::sym_size", "aten::sym_numel"),
    *("aten::zeros_like", "aten::ones_like", "aten::empty_like", "aten::full_like", "aten::rand_like"),
    *("aten::randn_like", "aten::new_zeros", "aten::new_ones", "aten::new_empty", "aten::new_full"),
    *("aten::is_floating_point", "prim::dtype", "prim::device", "prim::shape"),
}
# Operators whose output's shape follows from the values of any input, and from those of all inputs but the first.
SHAPED_BY_VALUES = {
    *("aten::nonzero", "aten::nonzero_numpy", "aten::masked_select", "aten::unique_dim", "aten::unique_consecutive"),
    *("aten::_unique", "aten::_unique2", "aten::bincount", "aten::one_hot", "torchvision::nms", "aten::arange"),
    *("aten::_pad_packed_sequence", "aten::_pack_padded_sequence", "aten::linspace", "aten::range", "aten::eye"),
    *("aten::full", "aten::zeros", "aten::ones", "aten::empty", "aten::rand", "aten::randn"),
}
SHAPED_BY_ARGUMENTS = {
    *("aten::repeat_interleave", "aten::view", "aten::reshape", "aten::expand", "aten::slice", "aten::narrow"),
    *("aten::repeat", "aten::tile", "aten::unfold", "aten::split", "aten::chunk", "aten::pad", "aten::broadcast_to"),
    *("aten::split_with_sizes", "aten::tensor_split", "aten::constant_pad_nd", "aten::upsample_nearest2d"),
    *("aten::upsample_bilinear2d", "aten::as_strided", "aten::new_zeros", "aten::new_ones", "aten::new_full"),
}
# Operators whose output may share the memory of their first input.
VIEWS = {
    *("aten::select", "aten::slice", "aten::view", "aten::reshape", "aten::transpose", "aten::t", "aten::permute"),
    *("aten::unsqueeze", "aten::squeeze", "aten::expand", "aten::narrow", "aten::as_strided", "aten::unfold"),
    *("aten::detach", "aten::alias", "aten::diagonal", "aten::movedim", "aten::flatten", "aten::view_as"),
    *("aten::expand_as", "aten::contiguous", "aten::to", "aten::chunk", "aten::split", "aten::split_with_sizes"),
    *("aten::unbind", "aten::numpy_T", "aten::swapaxes", "prim::ListUnpack"),
}


class Noticed(NamedTuple):
    """What Python reads while a model is recorded."""

    # The first answer of each line that reads values which follow from the inputs'.
    values: dict[Place, Any]
    # The lines that read sizes or constants, and checks.
    others: set[Place]


@contextmanager
def noticed(inputs: int) -> Iterator[Noticed]:
    """Yield the lines that a recording of a model with so many inputs reads values at, filled in while it is recorded.

    Checks are not among those of ``values``, nor are those of torch's own code: the source refuses what they stop.
    """
    import torch

    found = Noticed({}, set())
    followed = _Followed(inputs)

    def notice(read: Read) -> None:
        state = torch._C._get_tracing_state()
        place = here() if state else None
        if place is None:
            return
        decides = any(followed.is_from_values(state, each, shape=read.of_length) for each in read.tensors)
        if decides and not _is_checked(place) and not is_harmless(place):
            found.values.setdefault(place, read.answer)
        elif not read.of_length:
            found.others.add(place)

    with reading(notice):
        yield found


def _is_checked(place: Place) -> bool:
    """Whether what is read now only decides whether the code goes on: in a check of the model's or of torch's own."""
    running = list(stack())
    checked = any(is_check(each) for each in (place, *running[:1]))
    return checked and not any(is_caught(each) for each in running if is_models(each.filename))


@contextmanager
def unswallowed() -> Iterator[None]:
    """Raise torch.export's error about a value that decides a branch at the end, if the model's own code caught it.

    Its ``except`` would be taken for every input.
    """
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    errors: list[Exception] = []
    with reading(lambda read: None, errors.append):
        yield
    for error in errors:
        caught_in = error.__traceback__
        own = caught_in is not None and is_models(caught_in.tb_frame.f_code.co_filename)
        if own and isinstance(error, GuardOnDataDependentSymNode):
            raise error


class _Followed:
    """The values of a graph that follow from the values of its inputs, and not from their shapes alone."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        # The numbers that torch gives values of the graph: of those whose values, and whose shapes, follow.
        self.values: set[int] = set()
        self.shapes: set[int] = set()
        self.seen = 0  # so many nodes of the graph

    def is_from_values(self, state: Any, tensor: Any, *, shape: bool) -> bool:
        """Whether a tensor that is being recorded, or its shape, follows from the inputs' values."""
        import torch

        value = torch._C._get_value_trace(tensor)
        self._follow(state.graph())
        return value.unique() in (self.shapes if shape else self.values)

    def _follow(self, graph: Any) -> None:
        if not self.seen:
            starts = [each for each in graph.inputs() if each.type().kind() != "ClassType"]  # without the module itself
            self.values.update(each.unique() for each in starts[: self.inputs])
        while self._looks_back(graph):
            self.seen = 0

    def _looks_back(self, graph: Any) -> bool:
        """Follow each new node, in order; whether earlier ones must be looked at again: a view was written to."""
        written = False
        for node in islice(_in_order(graph), self.seen, None):
            self.seen += 1
            if node.kind() != SUBMODULE and self._reads(node):
                written |= self._mark(node)
        return written

    def _reads(self, node: Any) -> bool:
        return any(each.unique() in self.values for each in _read_by(node))

    def _mark(self, node: Any) -> bool:
        """Mark the outputs of a node that reads marked values; whether an earlier value is written to."""
        kind, inputs = node.kind(), list(node.inputs())
        values = [each.unique() in self.values for each in inputs]
        shapes = [each.unique() in self.shapes for each in inputs]
        if kind in OF_SHAPES and not (shapes[0] or any(values[1:])):
            return False
        shaped = (
            any(shapes)
            or kind in SHAPED_BY_VALUES
            or (kind in SHAPED_BY_ARGUMENTS and any(values[1:]))
            or (kind == "aten::index" and _is_masked(inputs[1]))
        )
        for each in node.outputs():
            self.values.add(each.unique())
            if shaped:
                self.shapes.add(each.unique())
        return kind.endswith("_") and self._written(inputs[0])

    def _written(self, value: Any) -> bool:
        """Mark a value that is written to, and those that it is a view of; whether one was not marked."""
        known = len(self.values)
        self.values.add(value.unique())
        while value.node().kind() in VIEWS or value.node().kind().endswith("_"):
            value = next(value.node().inputs())
            self.values.add(value.unique())
        return len(self.values) > known


def _in_order(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of its submodules, in the order in which they were recorded."""
    for node in graph.nodes():
        yield node
        if node.kind() == SUBMODULE:
            for block in node.blocks():
                yield from _in_order(block)


def _is_masked(indices: Any) -> bool:
    """Whether one of the indices is a mask."""
    kinds = [each.type() for each in indices.node().inputs()]
    return any(kind.kind() == "TensorType" and kind.scalarType() in ("Bool", "Byte") for kind in kinds)


def _read_by(node: Any) -> Iterator[Any]:
    """Yield the values that a node reads, and those that the graphs within it do."""
    yield from node.inputs()
    for block in node.blocks():
        for inner in block.nodes():
            yield from _read_by(inner)
