"""Why an ONNX file is not valid: its versions, its operators, its wiring, and the files of its weights."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

from modelrepo.generator.errors import first_line
from modelrepo.generator.graphs.edit import DEFAULT_DOMAINS
from modelrepo.generator.graphs.walk import graphs, inner_graphs
from modelrepo.generator.inspection.batching import CRASHING, named
from modelrepo.generator.inspection.onnx_reading import Reading, byte_size, stored_bytes
from modelrepo.generator.lint.files.onnx_file import text_of
from modelrepo.generator.lint.rules.onnx_files import MOST_BYTES, escaping, lacking
from modelrepo.generator.triton.releases import RELEASES

# Characters of a fault that names what it found in the file.
LONGEST = 400
# Faults of one kind that are named.
MOST = 5
# The domains whose operators ONNX defines.
DEFINED = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training")
# Operators without a domain that ONNX lacks, and ONNX Runtime has: ``onnxruntime_pybind11_state``'s schemas, 1.32.
RUNTIME_ONLY = frozenset(
    (
        *("Affine", "Crop", "DisentangledAttention_TRT", "DynamicSlice", "EfficientNMS_TRT", "GRUUnit"),
        *("GivenTensorFill", "ImageScaler", "MemcpyFromHost", "MemcpyToHost", "MultilevelCropAndResize_TRT"),
        *("ParametricSoftplus", "PyramidROIAlign_TRT", "Scale", "ScaledTanh", "SimplifiedLayerNormalization"),
    )
)
# What an InferenceError says of a node; errors within graphs and functions come with the node around it.
CONTRADICTION = re.compile(
    r"\(op_type:(?P<operator>\w+)(?:, node name: (?P<name>.*?))?\): "
    r"(?:\[\w+InferenceError\] )?(?P<reason>(?!Inference error)[^\n]+)\s*$"
)
Scopes = tuple[set[str], ...]


def faults(reading: Reading, broken: Iterable[str]) -> Iterator[str]:
    """Yield why the file is not a valid ONNX model, the most telling first; ``broken`` are the faults of its graph."""
    size = reading.path.stat().st_size
    if size > MOST_BYTES:
        yield f"it has {size:,} bytes, and protobuf reads no message of 2 GiB: save the weights as external data"
    yield from broken
    yield from _few(_data(reading))


def faults_of_graph(reading: Reading) -> Iterator[str]:
    """Yield the faults for which ONNX Runtime refuses the graph, whatever its release."""
    found = [fault for kind in (_versions, _operators, _unwired, _values) for fault in _few(kind(reading))]
    found = found or [*_few(_nodes(reading))]
    yield from found or _contradictions(reading)


def _few(found: Iterator[str]) -> Iterator[str]:
    distinct = dict.fromkeys(found)
    yield from islice(distinct, MOST)
    if len(distinct) > MOST:
        yield f"and {len(distinct) - MOST:,} more of this kind"


def _versions(reading: Reading) -> Iterator[str]:
    import onnx

    model = reading.model
    newest = max(onnx.defs.onnx_opset_version(), *(release.max_opset for release in RELEASES.values()))
    if not model.opset_import:
        yield "it names no operator set"
    if reading.file.opset > newest:
        yield f"its opset is {reading.file.opset}, and the newest that is known is {newest}"
    if reading.file.ir > onnx.IR_VERSION:
        yield f"its IR version is {reading.file.ir}, and the newest that is known is {onnx.IR_VERSION}"


def _operators(reading: Reading) -> Iterator[str]:
    """Yield the operators that their operator set does not have."""
    model = reading.model
    own = {(function.domain, function.name) for function in model.functions}
    for graph in graphs(model):
        imported = {each.domain: each.version for each in getattr(graph, "opset_import", model.opset_import)}
        for node in graph.node:
            domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
            version = imported.get(domain, imported.get("ai.onnx") if not domain else None)
            if (node.domain, node.op_type) in own or node.op_type in RUNTIME_ONLY:
                continue
            if version is None:
                yield f"it has {text_of(node.op_type)} of {domain or 'ai.onnx'!r}, and imports no operator set of it"
            elif domain in DEFINED:
                yield from _undefined(node, domain, version)


def _undefined(node: Any, domain: str, version: int) -> Iterator[str]:
    import onnx

    schema = partial(onnx.defs.get_schema, text_of(node.op_type), domain=domain)
    try:
        schema(max_inclusive_version=min(version, 2**31 - 1))
    except onnx.defs.SchemaError:
        called = f"opset {version}" if not domain else f"version {version} of {domain}"
        try:
            since = schema().since_version
            yield f"{called} has no operator {text_of(node.op_type)}, which came with {since}"
        except onnx.defs.SchemaError:
            yield f"there is no operator {text_of(node.op_type)} in {domain or 'ONNX'}"


def _unwired(reading: Reading) -> Iterator[str]:
    """Yield the tensors that are read and that nothing makes, and those that are made twice."""
    for graph in (reading.model.graph, *reading.model.functions):
        yield from _wiring(graph, ())


def _wiring(graph: Any, outer: Scopes) -> Iterator[str]:
    known = _given(graph)
    made = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        for name in node.input:
            if name and not _in(name, (*outer, known, made)):
                yield f"{text_of(named(node))} reads {text_of(name)!r}, which nothing makes"
        for inner in inner_graphs(node):
            yield from _wiring(inner, (*outer, known, made))
        for name in node.output:
            if name in known and name:
                yield f"{text_of(name)!r} is made twice, the second time by {text_of(named(node))}"
        known.update(name for name in node.output if name)
    for value in graph.output:
        name = getattr(value, "name", value)  # a function has names
        if not _in(name, (*outer, known)):
            yield f"nothing makes the output {text_of(name)!r}"


def _given(graph: Any) -> set[str]:
    """Return the names that a graph has before its nodes: of inputs and initializers."""
    inputs = {getattr(value, "name", value) for value in graph.input}
    inputs |= {tensor.name for tensor in getattr(graph, "initializer", ())}
    return inputs | {tensor.values.name for tensor in getattr(graph, "sparse_initializer", ())}


def _in(name: str, scopes: Scopes) -> bool:
    return any(name in scope for scope in scopes)


def is_unsorted(reading: Reading) -> bool:
    """Whether a node comes before one whose output it reads: ONNX forbids it, and ONNX Runtime sorts the nodes."""
    known = _given(reading.model.graph)
    made = {name for node in reading.model.graph.node for name in node.output}
    for node in reading.model.graph.node:
        if any(name in made and name not in known for name in node.input if name):
            return True
        known.update(node.output)
    return False


def _values(reading: Reading) -> Iterator[str]:
    """Yield the weights in the file itself whose values are more or fewer than their shape says."""
    for graph in graphs(reading.model):
        for tensor in getattr(graph, "initializer", ()):
            needed, has = byte_size(tensor), stored_bytes(tensor, reading.path.name)
            if any(size < 0 for size in tensor.dims):
                yield f"the weights {text_of(tensor.name)!r} have a negative size"
            elif None not in (needed, has) and needed != has:
                yield f"the weights {text_of(tensor.name)!r} have {has:,} bytes, and their shape needs {needed:,}"


def _data(reading: Reading) -> Iterator[str]:
    """Yield what is wrong with the files of external weights."""
    external = reading.file.external
    for problem in chain(lacking(reading.path, external), escaping(reading.path, external)):
        yield shortened(problem.says.removeprefix("ONNX Runtime can't load the model: "))


def shortened(text: str) -> str:
    """Return a sentence that may hold a name of any length."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _nodes(reading: Reading) -> Iterator[str]:
    """Yield the nodes whose attributes, or numbers of inputs and outputs, are not those of their operator.

    Not the whole model, of which onnx's checker asks more than ONNX Runtime does, such as shapes of all outputs.
    """
    import onnx

    model = reading.model
    for graph in graphs(model):
        context = onnx.checker.C.CheckerContext()
        context.ir_version = min(model.ir_version, onnx.IR_VERSION)
        context.opset_imports = {
            each.domain: each.version for each in getattr(graph, "opset_import", model.opset_import)
        }
        for node in graph.node:
            if node.domain in DEFINED and not inner_graphs(node) and node.op_type not in RUNTIME_ONLY:
                said = _of_node(node, context)
                if said:
                    yield f"{text_of(named(node))}: {said}"


def _of_node(node: Any, context: Any) -> str:
    """Return what onnx's checker says of a node; empty if nothing, or if it fails itself."""
    import onnx

    try:
        onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as error:
        return first_line(error)
    except Exception:  # of the library's own, such as for a name that is not UTF-8
        return ""
    return ""


def _contradictions(reading: Reading) -> Iterator[str]:
    """Yield the first node whose inputs do not fit together in their types or sizes, as ONNX infers them.

    ONNX Runtime infers as well, and refuses the model. What the file declares of shapes does not count: where that
    differs, ONNX Runtime warns only. Nothing is said of a model with operators that ONNX does not know, behind which
    it misses types, nor of operators that are functions, whose own shapes differ for MeanVarianceNormalization.
    """
    import onnx

    nodes = [node for graph in graphs(reading.model) for node in graph.node]
    if any(node.domain not in DEFINED or node.op_type in (*RUNTIME_ONLY, CRASHING) for node in nodes):
        return
    probe = _without_shapes(reading.model)
    try:
        onnx.shape_inference.infer_shapes(probe, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        said = CONTRADICTION.search(str(error))
        if said and not _is_function(said["operator"], reading):
            name = f" {said['name']!r}" if said["name"] else ""
            yield f"{said['operator']}{name}: {first_line(said['reason'])}"
    except Exception:  # of the library's own, for a graph that it can't follow
        return


def _without_shapes(model: Any) -> Any:
    """Return a copy of a model that declares the shapes of its inputs only."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for graph in graphs(probe):
        if isinstance(graph, onnx.GraphProto):  # a function declares none
            del graph.value_info[:]
            for value in graph.output:
                if value.type.WhichOneof("value") == "tensor_type":
                    value.type.tensor_type.ClearField("shape")
    return probe


def _is_function(operator: str, reading: Reading) -> bool:
    """Whether ONNX defines an operator by others."""
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(operator, max_inclusive_version=reading.file.opset or 1)
    except onnx.defs.SchemaError:
        return True
    return bool(schema.has_function or schema.has_context_dependent_function)
