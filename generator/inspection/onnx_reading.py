"""An ONNX file as its inspection needs it: without weights, with what a session reports, and inferred shapes."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from pathlib import Path
from typing import Any

from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.edit import DEFAULT_DOMAINS, infer_shapes
from modelrepo.generator.graphs.walk import graphs, inner_graphs, reads, required_inputs
from modelrepo.generator.inspection.batching import label
from modelrepo.generator.inspection.inspection import Dim, Node, Tensor, Weight
from modelrepo.generator.inspection.parts import most_frequent_first
from modelrepo.generator.lint.files.onnx_file import OnnxFile, text_of
from modelrepo.generator.triton import onnx_rules
from modelrepo.generator.triton.onnx_rules import DATA_TYPES, RANK

# Element types of ONNX that take less than a byte, and the bits of each.
PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
# The element types of ONNX that hold whole numbers or truth values.
WHOLE = re.compile("U?INT|BOOL")
# Names of a module's parameters in PyTorch's state dicts.
PARAMETER = re.compile(r"([A-Za-z_][\w.-]*)\.(?:weight|bias|gamma|beta|scale|running_mean|running_var)(?:_\w+)?")
# Graphs within graphs are followed to this depth.
DEEPEST = 32
Shapes = Mapping[str, tuple[Dim, ...] | None]


@dataclass(frozen=True)
class Reading:
    """What was read of an ONNX file."""

    path: Path
    model: Any  # an onnx.ModelProto without its large weights
    file: OnnxFile  # what ONNX Runtime reports, and the external tensors

    @cached_property
    def inferred(self) -> Any:
        """The model with the shapes that follow from its inputs; without them if they can't be inferred."""
        try:
            return infer_shapes(self.model, data_prop=True)
        except Exception:  # of the library's own, for a graph that it can't follow
            return self.model

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs that a request must give, and those that it may."""
        declared = {text_of(value.name): value for value in self.model.graph.input}
        required = (_tensor(known, declared[known.name]) for known in self.file.model.inputs)
        optional = (_tensor(known, declared[known.name], optional=True) for known in self.file.model.overridable)
        return (*required, *optional)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs, with the sizes that ONNX Runtime infers."""
        inferred = {text_of(value.name): value for value in self.inferred.graph.output}
        return tuple(
            _tensor(known, inferred.get(known.name, value))
            for known, value in zip(self.file.model.outputs, self.model.graph.output, strict=True)
        )

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """The constant tensors of all graphs, in the order of the file; single numbers of Constants are left out."""
        users = self._users()
        return tuple(
            _weight(name, tensor, users.get(name, ()), self.path)
            for graph in graphs(self.model)
            for name, tensor in _constants(graph)
        )

    def _users(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for graph in graphs(self.model):
            for node in graph.node:
                for name in dict.fromkeys(node.input):
                    found[text_of(name)].append(text_of(label(node)))
        return found

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs, in functions and inner graphs as well."""
        return most_frequent_first(operator(node) for graph in graphs(self.model) for node in graph.node)

    @property
    def whole_numbers(self) -> frozenset[str]:
        """The tensors of the main graph that hold whole numbers or truth values."""
        graph = self.inferred.graph
        values = (*graph.input, *graph.value_info, *graph.output)
        return frozenset(value.name for value in values if WHOLE.match(element_type(value.type.tensor_type.elem_type)))

    @property
    def subgraphs(self) -> Counter[str]:
        """How many graphs lie within the nodes of each operator."""
        found: Counter[str] = Counter()
        for graph in graphs(self.model):
            for node in graph.node:
                found[node.op_type] += len(inner_graphs(node))
        return +found

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in the order of the file; those of inner graphs follow the node that holds them."""
        weights = {weight.name for weight in self.weights}
        return tuple(_nodes(self.inferred.graph, weights, 0))


def read(path: Path, file: OnnxFile) -> Reading:
    """Return what is read of an ONNX file that ``lint.files.onnx_file`` found no fault in."""
    return Reading(path, outline.read(path), file)


def operator(node: Any) -> str:
    """Return the operator of a node, with its domain unless that is ONNX's own."""
    return text_of(node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}")


def _nodes(graph: Any, weights: set[str], level: int) -> Iterator[Node]:
    shapes = _shapes(graph)
    for node in graph.node:
        yield Node(
            name=text_of(node.name),
            operator=operator(node),
            inputs=tuple(text_of(name) for name in node.input if name and text_of(name) not in weights),
            outputs=tuple(text_of(name) for name in node.output if name),
            weights=tuple(text_of(name) for name in node.input if text_of(name) in weights),
            shapes=tuple(shapes.get(name) for name in node.output if name),
            level=level,
        )
        for inner in inner_graphs(node) if level < DEEPEST else ():
            yield from _nodes(inner, weights, level + 1)


def _shapes(graph: Any) -> Shapes:
    values = (*graph.value_info, *graph.output)
    return {value.name: dims_of(value) for value in values}


def dims_of(value: Any) -> tuple[Dim, ...] | None:
    """Return the sizes of a declared tensor, with the names of open ones; None if it has no shape."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else text_of(dim.dim_param).strip("?") or None
        for dim in tensor.shape.dim
    )


def _tensor(known: onnx_rules.Tensor, value: Any, *, optional: bool = False) -> Tensor:
    """Return a tensor with the sizes that are known of it, and the names of those that are open."""
    dims = dims_of(value)
    shape: tuple[Dim, ...] | None = known.dims
    if RANK in known.unsure or dims is None:
        shape = known.dims if known.dims and dims is not None else dims
    shape = _named(shape, dims) if shape is not None else None
    return Tensor(known.name, type_name(known.data_type), shape, optional)


def _named(shape: tuple[Dim, ...], dims: tuple[Dim, ...] | None) -> tuple[Dim, ...]:
    names = dims if dims is not None and len(dims) == len(shape) else (None,) * len(shape)
    return tuple(
        (name if isinstance(name, str) else None) if size == -1 else size
        for size, name in zip(shape, names, strict=True)
    )


def type_name(data_type: str) -> str:
    """Return a data type as Triton calls it, or ONNX's name of one that Triton lacks."""
    return data_type.removeprefix("TYPE_").removeprefix("tensor(").removesuffix(")")


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors that a graph holds, by name."""
    for tensor in getattr(graph, "initializer", ()):  # a function has none
        yield text_of(tensor.name), tensor
    for tensor in getattr(graph, "sparse_initializer", ()):
        yield text_of(tensor.values.name), tensor.values
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value" and prod(attribute.t.dims) > 1:
                yield text_of(node.output[0]) if node.output else "", attribute.t


def _weight(name: str, tensor: Any, users: Any, path: Path) -> Weight:
    entries = {text_of(entry.key): text_of(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    kind = element_type(tensor.data_type)
    return Weight(
        name=name,
        layer=module_of(name) or (users[0] if users else ""),
        data_type=type_name(DATA_TYPES.get(f"tensor({kind.lower()})", kind.lower())),
        shape=tuple(tensor.dims),
        parameters=max(0, prod(tensor.dims)),
        bytes=_bytes(tensor),
        shared_by=len(users),
        external="" if location == path.name else location,
    )


def module_of(name: str) -> str:
    """Return the module that a parameter's name tells, such as layer1.0.conv1 of layer1.0.conv1.weight; else empty."""
    found = PARAMETER.fullmatch(name)
    return found[1] if found else ""


def element_type(number: int) -> str:
    """Return ONNX's name of an element type; its number if it has none."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(number)) if number in TensorProto.DataType.values() else str(number)


def stored_bytes(tensor: Any, own: str) -> int | None:
    """Return the bytes of a tensor's values in the file called ``own``; None if they are elsewhere, or text."""
    entries = {text_of(entry.key): text_of(entry.value) for entry in tensor.external_data}
    if entries:
        length = entries.get("length", "")
        return int(length) if entries.get("location") == own and length.isdecimal() and len(length) < 20 else None
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    kind = element_type(tensor.data_type)
    values = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    if kind == "STRING" or kind in PACKED:
        return None
    count = sum(map(len, values)) // (2 if kind.startswith("COMPLEX") else 1)
    return count * _item_bytes(tensor.data_type)


def byte_size(tensor: Any) -> int | None:
    """Return the bytes that a tensor's shape and type need; None for text and for types that are not known."""
    count, kind = max(0, prod(map(int, tensor.dims))), element_type(tensor.data_type)
    if kind in PACKED:
        return ceil(count * PACKED[kind] / 8)
    item = _item_bytes(tensor.data_type)
    return count * item if item and kind != "STRING" else None


def _item_bytes(data_type: int) -> int:
    from onnx import helper

    try:
        return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except (KeyError, ValueError):
        return 0


def _bytes(tensor: Any) -> int:
    size = byte_size(tensor)
    return sum(len(bytes(text)) for text in tensor.string_data) if size is None else size


def unused(reading: Reading) -> tuple[Weight, ...]:
    """Return the weights that no node reads, and that are no outputs."""
    read_within = {text_of(name) for graph in graphs(reading.model) for node in graph.node for name in reads(node)}
    outputs = {text_of(value.name) for value in reading.model.graph.output}
    inputs = {text_of(value.name) for value in required_inputs(reading.model.graph)}
    return tuple(each for each in reading.weights if each.name not in read_within | outputs | inputs)
