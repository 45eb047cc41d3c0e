"""TensorFlow SavedModels: graph, signatures and variables, read as protobuf without TensorFlow, and never run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from modelrepo.generator.graphs.outline import LEFT_BYTES, Bytes, fields
from modelrepo.generator.inspection import tensor_bundle
from modelrepo.generator.inspection.inspection import Batching, Inspection, Node, Tensor, Use, Weight
from modelrepo.generator.inspection.layers import layer_of
from modelrepo.generator.inspection.messages import Message
from modelrepo.generator.inspection.parts import (
    Judgement,
    by_first_dims,
    by_release,
    most_frequent_first,
    reason,
    sizes_of,
    triton_name,
    unreadable,
)
from modelrepo.generator.inspection.tensor_bundle import Bundle, shard_name
from modelrepo.generator.lint.rules.backends import GONE
from modelrepo.generator.lint.rules.openvino import TYPES as OPENVINO
from modelrepo.generator.sources.savedmodel import DEFAULT, INTERNAL
from modelrepo.generator.triton.releases import RELEASES, Release

FORM = "SavedModel"
FILE = "saved_model.pb"
# DataType of tensorflow/core/framework/types.proto: numpy's name, and the bytes of an element; 0 if it has none.
TYPES = {
    **{1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2), 6: ("int8", 1)},
    **{7: ("string", 0), 8: ("complex64", 8), 9: ("int64", 8), 10: ("bool", 1), 11: ("qint8", 1), 12: ("quint8", 1)},
    **{13: ("qint32", 4), 14: ("bfloat16", 2), 15: ("qint16", 2), 16: ("quint16", 2), 17: ("uint16", 2)},
    **{18: ("complex128", 16), 19: ("float16", 2), 20: ("resource", 0), 21: ("variant", 0), 22: ("uint32", 4)},
    **{23: ("uint64", 8), 24: ("float8_e5m2", 1), 25: ("float8_e4m3fn", 1)},
}
VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
MOST_NAMES = 20
MOST_DEEP = 50


@dataclass(frozen=True)
class Step:
    """A node of a graph or function, with the functions that it calls."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """A function of the model that a client calls."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sources: tuple[str, ...]  # nodes of the outputs


@dataclass(frozen=True)
class Graph:
    """The main graph, and its functions by their names."""

    steps: Mapping[str, Step]
    functions: Mapping[str, tuple[Step, ...]]
    constants: tuple[Weight, ...]


def inspect(path: Path) -> Inspection:
    """Return what is known of a SavedModel, a folder; faults if it is damaged, or none."""
    file = path / FILE
    try:
        if not file.is_file():
            other = "its graph is a saved_model.pbtxt, as text" if (path / "saved_model.pbtxt").is_file() else ""
            return unreadable(path, FORM, f"{other}, which is not read" if other else f"{FILE} is missing")
        if not file.stat().st_size:
            return unreadable(path, FORM, f"{FILE} is empty")
        with file.open("rb") as opened:
            content = Bytes(opened.fileno())
            return _inspected(path, Message(content, 0, len(content)))
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    except (LookupError, ValueError):
        return unreadable(path, FORM, f"{FILE} is not a SavedModel, or is truncated")


def _inspected(path: Path, model: Message) -> Inspection:
    metas = list(model.each(2))
    if not metas:
        return unreadable(path, FORM, f"{FILE} holds no graph")
    meta = next((each for each in metas if "serve" in _tags(each)), metas[0])
    signatures = {name: _signature(each) for name, each in sorted(meta.pairs(5)) if not name.startswith(INTERNAL)}
    chosen = DEFAULT if DEFAULT in signatures else next(iter(signatures), "")
    signature = signatures.get(chosen, Signature((), (), ()))
    graph = _graph(meta.one(2))
    nodes = tuple(_reached(graph, signature.sources))
    files = sizes_of(sorted(path.rglob("*")), path)
    faults: dict[str, None] = {}
    uses_variables = any(step.operator in VARIABLES for step in graph.steps.values())
    bundle = _bundle(path, faults, needed=uses_variables)
    faults.update(dict.fromkeys(_shards(bundle, files)))
    for asset in meta.each(6):
        name = asset.one(2).text
        if name and f"assets/{name}" not in files:
            faults[f"its asset is missing: assets/{name}"] = None
    return Inspection(
        path,
        FORM,
        sum(files.values()),
        faults=tuple(faults),
        remarks=tuple(_remarks(path, chosen, signatures, bundle)),
        facts=tuple(_facts(model, metas, meta, signatures, chosen)),
        inputs=signature.inputs,
        outputs=signature.outputs,
        batching=_batching(signature),
        operators=most_frequent_first(node.operator for node in nodes),
        nodes=nodes,
        weights=(*_variables(bundle), *graph.constants),
        files=files,
        uses=(*by_release("tensorflow", _judged), _openvino(signature)) if chosen else (),
    )


def _tags(meta: Message) -> list[str]:
    return [each.text for each in meta.one(1).each(4)]


def _type(number: int) -> tuple[str, int]:
    name, size = TYPES.get(number, (f"type {number}", 0))
    return triton_name(name), size


def _signature(message: Message) -> Signature:
    """Return a SignatureDef, its tensors in the order of their names."""
    sides = [sorted(message.pairs(number)) for number in (1, 2)]
    inputs, outputs = (tuple(_tensor(name, each) for name, each in side) for side in sides)
    sources = tuple(each.one(1).text.partition(":")[0] for _, each in sides[1])
    return Signature(inputs, outputs, sources)


def _tensor(name: str, info: Message) -> Tensor:
    """Return an input or output (TensorInfo)."""
    shape = info.one(3)
    dims = [dim.number(1) for dim in shape.each(2)]
    known = tuple(size if size >= 0 else None for size in dims)
    return Tensor(name, _type(info.number(2))[0], None if shape.number(3) else known)


def _graph(message: Message) -> Graph:
    """Read a GraphDef with its functions (FunctionDef)."""
    bodies = {each.one(1, 1).text: each for each in message.one(2).each(1)}
    constants: list[Weight] = []
    steps = [_step(each, bodies, "", constants) for each in message.each(1)]
    functions = {
        name: tuple(_step(each, bodies, name, constants) for each in body.each(3)) for name, body in bodies.items()
    }
    return Graph({step.name: step for step in steps}, functions, tuple(constants))


def _step(message: Message, functions: Mapping[str, Message], layer: str, constants: list[Weight]) -> Step:
    """Read a node (NodeDef); a large constant is added to ``constants``."""
    name, operator, inputs, attributes = "", "", [], []
    for number, _, start, end in fields(message.content, message.start, message.end):
        value = Message(message.content, start, end)
        if number == 1:
            name = value.text
        elif number == 2:
            operator = value.text
        elif number == 3:
            inputs.append(value.text)
        elif number == 5:
            attributes.append(value)
    calls = [operator] if operator in functions else []
    for attribute in attributes:
        held = attribute.one(2)
        if operator == "Const" and held.size >= LEFT_BYTES:
            constants.extend(_constant(name, layer, held.one(8)))
        elif not held.size or held.content[held.start] not in (10 << 3 | 2, 1 << 3 | 2):
            continue  # neither a function nor a list
        else:
            called = [*held.each(10), *held.one(1).each(9)]
            calls += [each.one(1).text for each in called if each.one(1).text in functions]
    own = tuple(each.lstrip("^").partition(":")[0] for each in inputs)
    return Step(name, operator, own, tuple(dict.fromkeys(calls)))


def _constant(name: str, layer: str, tensor: Message) -> Iterator[Weight]:
    """Yield a constant of the graph (TensorProto); texts are not weights."""
    data_type, item = _type(tensor.number(1)) if tensor.size else ("", 0)
    if item:
        shape = tuple(max(0, dim.number(1)) for dim in tensor.one(2).each(2))
        count = prod(shape)
        yield Weight(name, layer or "graph", data_type, shape, count, count * item)


def _reached(graph: Graph, sources: Sequence[str]) -> Iterator[Node]:
    """Yield the nodes that the outputs of a signature need, each followed by those of functions that it calls first."""
    waiting, needed = list(sources), set()
    while waiting:
        name = waiting.pop()
        if name in graph.steps and name not in needed:
            needed.add(name)
            waiting += graph.steps[name].inputs
    entered: set[str] = set()
    for name, step in graph.steps.items():
        if name in needed:
            yield from _expanded(graph, step, entered, 0)


def _expanded(graph: Graph, step: Step, entered: set[str], level: int) -> Iterator[Node]:
    yield Node(step.name, step.operator, step.inputs, (step.name,), level=level)
    for called in step.calls:
        if called not in entered and level < MOST_DEEP:
            entered.add(called)
            for inner in graph.functions[called]:
                yield from _expanded(graph, inner, entered, level + 1)


def _bundle(path: Path, faults: dict[str, None], *, needed: bool) -> Bundle:
    """Return the variables; none, and a fault, if their index is damaged, or missing though the graph has some."""
    try:
        return tensor_bundle.read(path / "variables")
    except FileNotFoundError:
        if needed:
            faults["its variables are missing: variables/variables.index"] = None
    except (OSError, tensor_bundle.Unreadable) as error:
        faults[f"its variables can't be read: {error}"] = None
    return Bundle((), 1)


def _variables(bundle: Bundle) -> Iterator[Weight]:
    for each in bundle.variables:
        data_type, shape = _type(each.data_type)[0], tuple(max(0, size) for size in each.shape)
        file = f"variables/{shard_name(each.shard, bundle.shards)}"
        yield Weight(each.name, layer_of(each.name, "/"), data_type, shape, prod(shape), each.size, external=file)


def _shards(bundle: Bundle, files: Mapping[str, int]) -> Iterator[str]:
    """Yield faults of the files that hold values."""
    ends: dict[int, int] = {}
    for each in (*bundle.variables, *bundle.copies):
        ends[each.shard] = max(ends.get(each.shard, 0), each.offset + each.size)
    for shard, end in sorted(ends.items()):
        file = f"variables/{shard_name(shard, bundle.shards)}"
        if file not in files:
            yield f"its variables are missing: {file}, {end:,} bytes"
        elif files[file] < end:
            yield f"its variables are cut off: {file} has {files[file]:,} bytes of {end:,}"


def _facts(
    model: Message, metas: Sequence[Message], meta: Message, signatures: Mapping[str, Signature], chosen: str
) -> Iterator[tuple[str, str]]:
    info = meta.one(1)
    if info.one(5).size:
        yield "written by", f"TensorFlow {info.one(5).text}"
    yield "schema", str(model.number(1))
    producer = meta.one(2, 4).number(1)
    if producer:
        yield "graph producer", str(producer)
    yield "tags", "; ".join(", ".join(_tags(each)) or "none" for each in metas[:MOST_NAMES])
    for name, each in list(signatures.items())[:MOST_NAMES]:
        takes, gives = (", ".join(map(_text, side)) for side in (each.inputs, each.outputs))
        label = "signature" if name != chosen else "shown signature"
        yield f"{label} {name}", f"{takes or 'nothing'} -> {gives or 'nothing'}"


def _text(tensor: Tensor) -> str:
    if tensor.shape is None:
        return f"{tensor.name} {tensor.data_type}"
    return f"{tensor.name} {tensor.data_type} [{', '.join('?' if dim is None else str(dim) for dim in tensor.shape)}]"


def _batching(signature: Signature) -> Batching:
    """Return what the shapes of a signature say; the graph has no others."""
    found = by_first_dims(signature.inputs, signature.outputs)
    return (
        replace(found, reason=f"{found.reason}; what operators do with it is not known")
        if found.verdict == "yes"
        else found
    )


def _remarks(path: Path, chosen: str, signatures: Mapping[str, Signature], bundle: Bundle) -> Iterator[str]:
    from modelrepo.generator.sources.formats import flags

    if not chosen:
        yield "it has no signature, so nothing in it can be called: save it with signatures=…"
        return
    if len(signatures) > 1:
        yield f"inputs, outputs and operators are those of the signature {chosen}"
    if bundle.copies:
        more = sum(each.size for each in bundle.copies)
        yield f"variables that are saved twice, as Keras does: {len(bundle.copies)}, {more:,} bytes more"
    wanted = "" if chosen == DEFAULT or len(signatures) == 1 else f" --signature {chosen}"
    yield f"modelrepo generate {flags('savedmodel', path)}{wanted} makes an ONNX model of it"


def _judged(release: Release) -> Judgement:
    if GONE.holds_for(release.container):
        return "no", f"Triton has no tensorflow backend since {GONE.since}"
    return "yes", "with platform tensorflow_savedmodel, as the folder model.savedmodel of a version"


def _openvino(signature: Signature) -> Use:
    releases = tuple(RELEASES)
    odd = next((each for each in (*signature.inputs, *signature.outputs) if each.data_type not in OPENVINO), None)
    if odd is not None:
        return Use("openvino", releases, "no", f"the backend does not take {odd.data_type}, the type of {odd.name}")
    said = "with default_model_filename, OpenVINO reads SavedModels; not all operators"
    return Use("openvino", releases, "unknown", said)
