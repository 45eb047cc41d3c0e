"""TensorFlow Lite files: a flatbuffer, read table by table without TensorFlow (tensorflow/lite/schema/schema.fbs)."""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from modelrepo.generator.errors import SourceError
from modelrepo.generator.graphs.outline import Bytes
from modelrepo.generator.inspection import flatbuffer
from modelrepo.generator.inspection.flatbuffer import Content, Damaged, Table
from modelrepo.generator.inspection.inspection import Inspection, Node, Tensor, Use, Weight
from modelrepo.generator.inspection.mixing import by_nodes
from modelrepo.generator.inspection.parts import by_first_dims, most_frequent_first, reason, triton_name, unreadable
from modelrepo.generator.inspection.tflite_operators import CUSTOM, NAMES, PLACEHOLDER
from modelrepo.generator.lint.rules.openvino import TYPES as OPENVINO
from modelrepo.generator.triton.releases import RELEASES

FORM = "TensorFlow Lite"
# TensorType of the schema: numpy's name, and the bits of an element; 0 if it has no size of its own.
TYPES = (
    *(("float32", 32), ("float16", 16), ("int32", 32), ("uint8", 8), ("int64", 64), ("string", 0), ("bool", 8)),
    *(("int16", 16), ("complex64", 64), ("int8", 8), ("float64", 64), ("complex128", 128), ("uint64", 64)),
    *(("resource", 0), ("variant", 0), ("uint32", 32), ("uint16", 16), ("int4", 4), ("bfloat16", 16), ("int2", 2)),
    *(("uint4", 4), ("float8_e4m3fn", 8), ("float8_e5m2", 8)),
)
MODEL_METADATA = "TFLITE_METADATA"
# Operators whose answers are shapes.
OF_SHAPES = ("RANK", "SHAPE")
RUNTIME = "min_runtime_version"
MOST_NAMES = 20


@dataclass(frozen=True)
class Value:
    """A tensor of a graph; ``scales`` is how many it is quantized with, 0 for one that is not."""

    name: str
    kind: str
    bits: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # -1 for an open size; empty if it is not written
    buffer: int
    variable: bool
    scales: int

    @property
    def tensor(self) -> Tensor:
        """The tensor as an input or output."""
        sizes = self.signature or self.shape
        return Tensor(self.name, triton_name(self.kind), tuple(size if size >= 0 else None for size in sizes))


@dataclass(frozen=True)
class Graph:
    """A subgraph: the main one, or the body of a loop or a choice."""

    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]


def inspect(path: Path) -> Inspection:
    """Return what is known of a TensorFlow Lite file; faults if it is damaged, or none."""
    from modelrepo.generator.sources.content import kind_of  # late: it brings every source

    try:
        if kind_of(path) != "tflite":
            return unreadable(path, FORM, "it is not a TensorFlow Lite file")
        with path.open("rb") as file:
            return _inspected(path, flatbuffer.root(Content(Bytes(file.fileno()))))
    except SourceError as error:
        return unreadable(path, FORM, error.message.replace(f"{path} ", "it ", 1))
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    except (Damaged, LookupError) as error:
        return unreadable(path, FORM, f"it is damaged: {error}")


def _inspected(path: Path, model: Table) -> Inspection:
    codes = [_operator_name(code) for code in model.tables(1)]
    buffers = [_held(buffer) for buffer in model.tables(4)]
    graphs = [_graph(each, codes) for each in model.tables(2)]
    if not graphs:
        return unreadable(path, FORM, "it holds no graph")
    main = graphs[0]
    inputs = tuple(main.values[number].tensor for number in main.inputs)
    outputs = tuple(main.values[number].tensor for number in main.outputs)
    nodes = tuple(node for level, graph in enumerate(graphs) for node in _nodes(graph, buffers, min(level, 1)))
    operators = most_frequent_first(node.operator for node in nodes)
    faults: dict[str, None] = {}
    return Inspection(
        path,
        FORM,
        path.stat().st_size,
        remarks=tuple(_remarks(path, graphs)),
        facts=tuple(_facts(path, model)),
        inputs=inputs,
        outputs=outputs,
        batching=by_nodes(by_first_dims(inputs, outputs), inputs, nodes, OF_SHAPES),
        operators=operators,
        nodes=nodes,
        weights=tuple(_weights(graphs, buffers, faults)),
        files={path.name: path.stat().st_size},
        uses=(_use(operators, inputs, outputs),),
        faults=tuple(faults),
    )


def _operator_name(code: Table) -> str:
    """Return the name of an operator, a custom one with "custom:" before it."""
    number = code.number(0, "<b")
    number = code.number(3) if number == PLACEHOLDER or not number else number
    if number == CUSTOM:
        return f"custom:{code.text(1)}"
    return NAMES[number] if 0 <= number < len(NAMES) else f"operator {number}"


def _held(buffer: Table) -> int:
    """Return the bytes that a buffer holds, in the table or, in files above 2 GB, behind it."""
    count = buffer.span(0)[1]
    start, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")
    if start > 1 and start + size > len(buffer.content.bytes):
        raise Damaged("it is truncated: a buffer ends behind the file")
    return count or (size if start > 1 else 0)


def _graph(table: Table, codes: Sequence[str]) -> Graph:
    values = tuple(map(_value, table.tables(0)))
    operators = []
    for each in table.tables(3):
        number = each.number(0, "<I")
        if number >= len(codes):
            raise Damaged("an operator has no code")
        operators.append((codes[number], _existing(each.numbers(1), values), _existing(each.numbers(2), values)))
    inputs, outputs = _existing(table.numbers(1), values), _existing(table.numbers(2), values)
    return Graph(values, inputs, outputs, tuple(operators))


def _existing(numbers: Sequence[int], values: Sequence[Value]) -> tuple[int, ...]:
    """Return the numbers of tensors without -1, which stands for an optional one that is left out."""
    found = tuple(number for number in numbers if number != -1)
    if any(not 0 <= number < len(values) for number in found):
        raise Damaged("a tensor is missing")
    return found


def _value(table: Table) -> Value:
    number = table.number(1, "<b")
    kind, bits = TYPES[number] if 0 <= number < len(TYPES) else (f"type {number}", 0)
    quantization = table.table(4)
    scales = quantization.span(2, 4)[1] if quantization else 0
    return Value(
        table.text(3),
        kind,
        bits,
        table.numbers(0),
        table.numbers(7),
        table.number(2, "<I"),
        bool(table.number(5, "<b")),
        scales,
    )


def _has_values(value: Value, buffers: Sequence[int]) -> bool:
    return 0 < value.buffer < len(buffers) and buffers[value.buffer] > 0 and not value.variable


def _nodes(graph: Graph, buffers: Sequence[int], level: int) -> Iterator[Node]:
    for operator, read, made in graph.operators:
        inputs = [graph.values[number] for number in read]
        outputs = [graph.values[number] for number in made]
        yield Node(
            outputs[0].name if outputs else "",
            operator,
            tuple(each.name for each in inputs),
            tuple(each.name for each in outputs),
            tuple(each.name for each in inputs if _has_values(each, buffers)),
            tuple(each.tensor.shape for each in outputs),
            level,
        )


def _weights(graphs: Sequence[Graph], buffers: Sequence[int], faults: dict[str, None]) -> Iterator[Weight]:
    """Yield the constants, each buffer once, with the operator that reads it first."""
    users: Counter[int] = Counter()
    layers: dict[int, str] = {}
    for graph in graphs:
        for _, read, made in graph.operators:
            for buffer in {graph.values[number].buffer for number in read}:
                users[buffer] += 1
                layers.setdefault(buffer, graph.values[made[0]].name if made else "")
    seen: set[int] = set()
    for value in (value for graph in graphs for value in graph.values if _has_values(value, buffers)):
        count, held = prod(value.shape) if min(value.shape, default=0) >= 0 else 0, buffers[value.buffer]
        needed = -(-count * value.bits // 8)
        if held < needed:
            faults[f"the values of {value.name} are cut off: {held:,} bytes of {needed:,}"] = None
        if value.buffer in seen:
            continue
        seen.add(value.buffer)
        yield Weight(
            value.name,
            layers.get(value.buffer, ""),
            triton_name(value.kind),
            value.shape,
            count,
            held,
            shared_by=max(1, users[value.buffer]),
        )


def _facts(path: Path, model: Table) -> Iterator[tuple[str, str]]:
    yield "schema", str(model.number(0, "<I"))
    if model.text(3):
        yield "description", model.text(3)[:200]
    buffers = list(model.tables(4))
    for entry in model.tables(6):
        name, number = entry.text(0), entry.number(1, "<I")
        start, count = buffers[number].span(0) if number < len(buffers) else (0, 0)
        if name == RUNTIME and count:
            text = bytes(model.content.bytes[start : start + min(count, 64)]).rstrip(b"\0")
            yield "oldest runtime", text.decode("utf-8", errors="replace")
        elif name == MODEL_METADATA and count:
            yield from _described(model.content, start)
        else:
            yield "metadata", f"{name}, {count:,} bytes"
    for signature in model.tables(7):
        named = [[each.text(0) for each in signature.tables(side)] for side in (0, 1)]
        takes, gives = (", ".join(names[:MOST_NAMES]) for names in named)
        yield f"signature {signature.text(2)}", f"{takes} -> {gives}"
    packed = _packed(path)
    if packed:
        yield "files packed in it", ", ".join(packed[:MOST_NAMES])


def _described(content: Content, start: int) -> Iterator[tuple[str, str]]:
    """Yield what TensorFlow Lite's metadata says of a model (metadata_schema.fbs: ModelMetadata)."""
    table = flatbuffer.root(content, start)
    for index, label in ((0, "name"), (1, "description"), (2, "version"), (4, "author"), (5, "license")):
        if table.text(index):
            yield label, table.text(index)[:200]


def _packed(path: Path) -> list[str]:
    """Return the names of files, such as labels, that metadata packs behind a model."""
    from modelrepo.generator.sources.content import DAMAGED_ZIP

    try:
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (*DAMAGED_ZIP, OSError):
        return []


def _remarks(path: Path, graphs: Sequence[Graph]) -> Iterator[str]:
    from modelrepo.generator.sources.formats import flags

    quantized = Counter(value.kind for graph in graphs for value in graph.values if value.scales)
    if quantized:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(quantized.items()))
        by_channel = any(value.scales > 1 for graph in graphs for value in graph.values)
        yield f"quantized tensors: {counts}{', some with a scale for each channel' if by_channel else ''}"
    if len(graphs) > 1:
        yield f"it has {len(graphs)} graphs: the main one comes first, the others are a level deeper"
    yield f"modelrepo generate {flags('tflite', path)} makes an ONNX model of it"


def _use(operators: Mapping[str, int], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Use:
    releases = tuple(RELEASES)
    odd = next((each for each in (*inputs, *outputs) if each.data_type not in OPENVINO), None)
    if odd is not None:
        return Use("openvino", releases, "no", f"the backend does not take {odd.data_type}, the type of {odd.name}")
    custom = [name.removeprefix("custom:") for name in operators if name.startswith("custom:")]
    if custom:
        return Use("openvino", releases, "unknown", f"it has operators of its own: {', '.join(custom[:MOST_NAMES])}")
    said = "with default_model_filename, OpenVINO reads TensorFlow Lite files; not all operators"
    return Use("openvino", releases, "unknown", said)
