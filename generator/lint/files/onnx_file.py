"""An ONNX file: what ONNX Runtime reports of it, and the files that hold its weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.regular import opened
from modelrepo.generator.triton.onnx_rules import DATA_TYPES, RANK, Model, Tensor

# The oldest version of ONNX's format in which a request may replace an initializer that is an input too.
OVERRIDABLE_IR = 4
# Bytes 4 to 7 of a file in ONNX Runtime's own format.
RUNTIME_FORMAT = b"ORTM"
# The names of ONNX's own operators' domain.
STANDARD = ("", "ai.onnx")
# Operators of other domains than ONNX Runtime's own need a library that registers them.
RUNTIME_DOMAINS = (
    *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"),
    *("com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.dml"),
    "org.pytorch.aten",
)
# The domain that the TensorRT accelerator registers.
TENSORRT_DOMAIN = "trt.plugins"
NOTHING = Model((), ())


@dataclass(frozen=True)
class External:
    """A tensor that lies in another file."""

    tensor: str
    location: str  # relative to the model's folder, if it is right
    offset: int
    length: int | None  # as it is written; None if it is not
    size: int | None  # bytes, of its shape and type; None if they are not known
    unreadable: str = ""  # an offset or a length that is not a number, or is negative


@dataclass(frozen=True)
class OnnxFile:
    """What lies in an ONNX file; ``fault`` says why nothing of it could be read."""

    model: Model = NOTHING
    opset: int = 0  # of ONNX's own operators
    ir: int = 0
    external: tuple[External, ...] = ()
    unregistered: tuple[tuple[str, str], ...] = ()  # domains that ONNX Runtime does not have, and what it says of one
    fault: str = ""


def read(path: Path) -> OnnxFile | None:
    """Read an ONNX file without its weights; None for ONNX Runtime's own format. OSError if it can't be opened."""
    from google.protobuf.message import DecodeError

    from modelrepo.generator.graphs import outline

    if not path.stat().st_size:
        return OnnxFile(fault="it is empty")
    with opened(path) as file:
        if file.read(8)[4:] == RUNTIME_FORMAT:
            return None
    try:
        outlined = outline.read(path)
    except (DecodeError, KeyError, OverflowError):
        return OnnxFile(fault="it is not an ONNX model, or is truncated")
    if not (outlined.graph.node or outlined.graph.input or outlined.graph.output):
        return OnnxFile(fault="it has no graph")
    if not outlined.opset_import:  # what is cut off just before it is whole to protobuf
        return OnnxFile(fault="it names no opset, or is truncated")
    if not outlined.HasField("ir_version"):
        return OnnxFile(fault="it names no IR version")
    opset = max((each.version for each in outlined.opset_import if each.domain in STANDARD), default=0)
    external = tuple(each for each in _external(outlined) if each.location != path.name)
    return OnnxFile(_declared(outlined), opset, outlined.ir_version, external, _unregistered(outlined))


def _unregistered(outlined: Any) -> tuple[tuple[str, str], ...]:
    """Return domains of operators that neither ONNX Runtime nor a function has, and what is said of one."""
    from modelrepo.generator.graphs.walk import graphs

    used = {(text_of(node.domain), text_of(node.op_type)) for graph in graphs(outlined) for node in graph.node}
    defined = {(text_of(each.domain), text_of(each.name)) for each in outlined.functions}
    imported = {text_of(each.domain) for each in outlined.opset_import}
    missing = sorted((each for each in used - defined if each[0] not in RUNTIME_DOMAINS), reverse=True)
    return tuple(
        {
            domain: f"Fatal error: {domain}:{name}(-1) is not a registered function/op"
            if domain in imported
            else f"No opset import for domain {domain}"
            for domain, name in missing
        }.items()
    )


def _external(outlined: Any) -> Iterator[External]:
    from onnx import TensorProto

    from modelrepo.generator.graphs.walk import graphs

    for graph in graphs(outlined):
        for tensor in getattr(graph, "initializer", ()):  # a function has none
            if tensor.data_location == TensorProto.EXTERNAL:
                entries = {text_of(entry.key): text_of(entry.value) for entry in tensor.external_data}
                numbers = [entries.get(key) for key in ("offset", "length")]
                offset, length = map(_number, numbers)
                broken = next((each for each in numbers if each is not None and _number(each) is None), "")
                location = entries.get("location", "")
                yield External(text_of(tensor.name), location, offset or 0, length, _size(tensor), broken)


def text_of(value: str | bytes) -> str:
    """Return a string of a message, which protobuf gives as bytes if it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 20 else None


def _size(tensor: Any) -> int | None:
    """Return the bytes of a tensor; None for a type that is packed or not known."""
    from onnx import helper

    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError):
        return None
    if item.kind not in "biufc" or any(size < 0 for size in tensor.dims):
        return None
    return int(item.itemsize * math.prod(tensor.dims))


def _declared(outlined: Any) -> Model:
    """Return the inputs and outputs as a session of ONNX Runtime reports them, as far as it can be known.

    ONNX Runtime infers shapes, and fills in what an output leaves open; inputs stay as they are declared.
    """
    from modelrepo.generator.graphs.walk import required_inputs

    graph = outlined.graph
    inferred = _inferred(outlined)
    required = required_inputs(graph)
    names = {value.name for value in required}
    inputs = tuple(map(_tensor, required))
    replaced = tuple(_tensor(value) for value in graph.input if value.name not in names)
    outputs = tuple(_merged(_tensor(value), value, inferred) for value in graph.output)
    return Model(inputs, outputs, replaced if outlined.ir_version >= OVERRIDABLE_IR else ())


def _tensor(value: Any) -> Tensor:
    return Tensor(text_of(value.name), _data_type(value.type), tuple(_dims(value.type) or ()))


def _data_type(kind: Any) -> str:
    from onnx import TensorProto

    which = kind.WhichOneof("value")
    if which == "tensor_type":
        number = kind.tensor_type.elem_type
        name = TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else str(number)
        runtime = f"tensor({name})"
        return DATA_TYPES.get(runtime, runtime)
    return {"sequence_type": "seq", "map_type": "map", "optional_type": "optional"}.get(which, str(which))


def _dims(kind: Any) -> list[int] | None:
    """Return the dims of a tensor's type, -1 for those that are open; None if it has no shape."""
    if not kind.tensor_type.HasField("shape"):
        return None
    sizes = kind.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else -1 for size in sizes]


def _inferred(outlined: Any) -> dict[str, tuple[Any, set[str]]]:
    """Return the types of the outputs as they follow from the inputs; of none if that can't be inferred.

    Open sizes of inputs get names first: a size that has one of them afterwards is open for ONNX Runtime, too. What
    follows from computed sizes is left open: ONNX Runtime propagates fewer of them than ONNX does. So is what follows
    from the default of an input, which a request may replace.
    """
    from modelrepo.generator.graphs.edit import infer_shapes

    probe = type(outlined)()
    probe.CopyFrom(outlined)
    names: set[str] = set()
    for value in probe.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if not size.HasField("dim_value"):
                size.dim_param = size.dim_param or f"{value.name}[{axis}]"
                names.add(size.dim_param)
    for value in probe.graph.output:
        value.type.tensor_type.ClearField("shape")
    given = {value.name for value in probe.graph.input}
    constants = [each for each in probe.graph.initializer if each.name not in given]
    if outlined.ir_version >= OVERRIDABLE_IR and len(constants) < len(probe.graph.initializer):
        del probe.graph.initializer[:]
        probe.graph.initializer.extend(constants)
    try:
        probe = infer_shapes(probe)
    except Exception:  # of the library's own, for a graph that it can't follow
        return {}
    found = {text_of(value.name): value.type for value in probe.graph.output}
    return {name: (kind, names) for name, kind in found.items()}


def _merged(tensor: Tensor, value: Any, inferred: Mapping[str, tuple[Any, set[str]]]) -> Tensor:
    """Return an output with what follows from the graph (``Graph::InferAndVerifyTypeMatch`` of ONNX Runtime)."""
    if not tensor.data_type.startswith(("TYPE_", "tensor(")):
        return tensor
    declared = _dims(value.type)
    kind, names = inferred.get(tensor.name, (None, set()))
    known = _dims(kind) if kind is not None else None
    if known is None:
        everything = frozenset({RANK}) if declared is None else frozenset(_open(declared))
        return Tensor(tensor.name, tensor.data_type, tensor.dims, everything)
    if declared is None:
        declared = [-1] * len(known)
    if len(declared) != len(known):
        return Tensor(tensor.name, tensor.data_type, tensor.dims, frozenset({RANK}))
    pairs = list(zip(declared, known, strict=True))
    if any(own != other and -1 not in (own, other) for own, other in pairs):  # ONNX Runtime warns, and forgets sizes
        return Tensor(tensor.name, tensor.data_type, tensor.dims, frozenset(range(len(known))))
    params = [size.dim_param for size in kind.tensor_type.shape.dim]
    dims = tuple(max(pair) for pair in pairs)
    unsure = frozenset(axis for axis in _open(dims) if params[axis] not in names)
    return Tensor(tensor.name, tensor.data_type, dims, unsure)


def _open(dims: Sequence[int]) -> Iterator[int]:
    return (axis for axis, size in enumerate(dims) if size == -1)
