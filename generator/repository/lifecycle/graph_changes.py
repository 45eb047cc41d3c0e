"""What is different between two ONNX graphs, their weights aside."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import first_line
from modelrepo.generator.graphs import edit, outline, walk
from modelrepo.generator.repository.lifecycle.weights import is_constant


@dataclass(frozen=True)
class TensorChange:
    """An input or output that is another one, in words; empty where there is none of the name."""

    kind: str  # "input" or "output"
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class GraphChanges:
    """What is different: operators by name with their counts, operators with other attributes, and the signature.

    ``rewired`` is whether equal operators are connected, or ordered, in another way. ``versions`` are those of the
    operator sets and of the IR, by name.
    """

    operators: Mapping[str, tuple[int, int]]
    attributes: Mapping[str, int]  # by operator: how many have other attributes
    rewired: bool
    tensors: tuple[TensorChange, ...]
    versions: Mapping[str, tuple[int, int]]

    @property
    def same(self) -> bool:
        """Whether nothing is different."""
        return not (self.operators or self.attributes or self.rewired or self.tensors or self.versions)


def read(path: Path) -> Any:
    """Return the outline of the ONNX model at ``path``; ValueError or OSError if it can't be read."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = outline.read(path)
    except DecodeError as error:
        raise ValueError(first_line(error)) from error
    if not all(isinstance(name, str) for name in _names(model)):  # protobuf gives bytes that are not UTF-8 as they are
        raise ValueError("a name in it is not UTF-8")
    types = {tensor.data_type for tensor in edit.tensors(model)}
    types |= {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    if not types <= {*onnx.TensorProto.DataType.values()}:
        raise ValueError("it has a tensor of a type that this release of onnx does not know")
    return model


def _names(model: Any) -> Iterator[str | bytes]:
    for graph in walk.graphs(model):
        values = (*graph.initializer, *graph.output, *graph.input) if hasattr(graph, "initializer") else ()
        yield from (value.name for value in values)
        for node in graph.node:
            yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
    for value in (*model.graph.input, *model.graph.output):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from (entry.domain for entry in model.opset_import)


def changes(one: Any, other: Any) -> GraphChanges:
    """Return what is different between two ModelProtos."""
    before, after = (Counter(map(_operator, edit.nodes(model))) for model in (one, other))
    operators = {name: (before[name], after[name]) for name in before | after if before[name] != after[name]}
    attributes = _attributes(one, other)
    return GraphChanges(
        operators=dict(sorted(operators.items())),
        attributes=attributes,
        rewired=not operators and not attributes and _wiring(one) != _wiring(other),
        tensors=(
            *_tensors("input", walk.required_inputs(one.graph), walk.required_inputs(other.graph)),
            *_tensors("output", one.graph.output, other.graph.output),
        ),
        versions=_versions(one, other),
    )


def _operator(node: Any) -> str:
    return node.op_type if node.domain in edit.DEFAULT_DOMAINS else f"{node.domain}:{node.op_type}"


def _attributes(one: Any, other: Any) -> dict[str, int]:
    """Return how many operators of each name have other attributes, those aside that were added or removed."""
    before, after = (
        Counter((_operator(node), tuple(_settings(node))) for node in edit.nodes(model)) for model in (one, other)
    )
    gone, new = Counter[str](), Counter[str]()
    for counter, difference in ((gone, before - after), (new, after - before)):
        for (name, _), count in difference.items():
            counter[name] += count
    return dict(sorted((gone & new).items()))


def _settings(node: Any) -> Iterator[bytes]:
    """Yield the attributes of a node, without the constants and graphs that it holds."""
    plain = (each for each in node.attribute if not (is_constant(each) or each.HasField("g") or each.graphs))
    yield from sorted(each.SerializeToString(deterministic=True) for each in plain)


def _wiring(model: Any) -> list[tuple[Any, ...]]:
    """Return the operators with the tensors that they read and make, by number in order of appearance."""
    numbers: dict[str, int] = {}

    def numbered(names: Iterable[str]) -> tuple[int, ...]:
        return tuple(numbers.setdefault(name, len(numbers)) if name else -1 for name in names)

    for value in walk.required_inputs(model.graph):
        numbered([value.name])
    found: list[tuple[Any, ...]] = [
        (_operator(node), tuple(_settings(node)), numbered(node.input), numbered(node.output))
        for node in edit.nodes(model)
    ]
    return [*found, numbered(value.name for value in model.graph.output)]


def _tensors(kind: str, one: Iterable[Any], other: Iterable[Any]) -> Iterator[TensorChange]:
    before, after = ({value.name: _described(value) for value in values} for values in (one, other))
    for name in before | after:
        if before.get(name) != after.get(name):
            yield TensorChange(kind, name, before.get(name, ""), after.get(name, ""))


def _described(value: Any) -> str:
    import onnx

    tensor = value.type.tensor_type
    dims = [str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} [{', '.join(dims)}]"


def _versions(one: Any, other: Any) -> dict[str, tuple[int, int]]:
    before, after = (
        {**{entry.domain or "ai.onnx": entry.version for entry in model.opset_import}, "IR": model.ir_version}
        for model in (one, other)
    )
    names = dict.fromkeys((*before, *after))
    found = {name: (before.get(name, 0), after.get(name, 0)) for name in names}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}
