"""What the backends of each Triton release could do with an ONNX file, as far as the file tells."""

from collections.abc import Iterator
from functools import partial

from modelrepo.generator.export.onnx import DOMAINS
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.inspection.inspection import Use
from modelrepo.generator.inspection.onnx_faults import shortened
from modelrepo.generator.inspection.onnx_reading import Reading, dims_of, element_type, operator
from modelrepo.generator.inspection.parts import Judgement, by_release
from modelrepo.generator.lint.files.onnx_file import text_of
from modelrepo.generator.lint.rules import onnx_files, openvino
from modelrepo.generator.tensorrt import operators
from modelrepo.generator.triton import onnx_rules
from modelrepo.generator.triton.onnx_rules import BF16_SINCE
from modelrepo.generator.triton.releases import Release

# Names that a reason lists.
MOST = 4
ONLY_A_BUILD = "only a build shows it"


def uses(reading: Reading, broken: str = "") -> tuple[Use, ...]:
    """Return what each backend could do with the file, by release; nothing if its graph is ``broken``."""
    if broken:
        targets = ("onnxruntime", "tensorrt", "openvino")
        return tuple(use for each in targets for use in by_release(each, partial(_always, ("no", broken))))
    lost = _lost(reading)
    refused = lost or next(_types_refused(reading), "")
    return (
        *by_release("onnxruntime", partial(_runtime, reading, _foreign(reading))),
        *by_release("tensorrt", partial(_tensorrt, refused, _operators(reading))),
        *by_release("openvino", partial(_always, ("no", lost) if lost else _openvino(reading))),
    )


def _lost(reading: Reading) -> str:
    """Return why the weights in other files can't be read, by whatever backend; empty if they can."""
    problems = onnx_files.lacking(reading.path, reading.file.external)
    return next((shortened(each.says.removeprefix("ONNX Runtime can't load the model: ")) for each in problems), "")


def _always(judgement: Judgement, _: Release) -> Judgement:
    return judgement


def _runtime(reading: Reading, foreign: list[str], release: Release) -> Judgement:
    file = reading.file
    refused = _refused(reading, release)
    if refused:
        return "no", refused
    if onnx_files.too_new_an_opset(file, release):
        return "no", f"its ONNX Runtime reads opset {release.max_opset} at most, and the model has {file.opset}"
    if onnx_files.too_new_a_format(file, release):
        return "no", f"its ONNX Runtime reads IR {release.max_ir} at most, and the model has {file.ir}"
    if onnx_files.perhaps_too_new(file, release):
        return (
            "unknown",
            f"which opset and IR its ONNX Runtime reads is not known; {release.bounds_of} does not read it",
        )
    if foreign:
        return "unknown", f"ONNX Runtime has no {_listed(foreign)} without a library of yours"
    if release.bounds_of:
        return "yes", f"as far as is known: its ONNX Runtime is newer than that of {release.bounds_of}, which reads it"
    return "yes", f"its ONNX Runtime reads opset {file.opset} and IR {file.ir}"


def _refused(reading: Reading, release: Release) -> str:
    """Return why the backend refuses the model, whatever its operator set; empty if nothing is known against it."""
    if lost := _lost(reading):
        return lost
    if onnx_files.OUTSIDE.holds_for(release.container):
        for problem in onnx_files.escaping(reading.path, reading.file.external):
            return shortened(problem.says)
    if reading.path.stat().st_size > onnx_files.MOST_BYTES:
        return "protobuf reads no message of 2 GiB or more"
    model = reading.file.model
    for tensor in (*model.inputs, *model.outputs):
        if not tensor.data_type.startswith("TYPE_"):
            return f"Triton has no type for {tensor.name!r}, which is {_in_words(tensor)}"
        if tensor.data_type == "TYPE_BF16" and release.container < BF16_SINCE:
            return f"{tensor.name!r} is BF16, which its backend takes from {BF16_SINCE} on"
    return ""


def _in_words(tensor: onnx_rules.Tensor) -> str:
    names = {"seq": "a sequence", "map": "a map", "optional": "an optional value"}
    return names.get(tensor.data_type, tensor.data_type)


def _foreign(reading: Reading) -> list[str]:
    """Return the operators that ONNX Runtime's builds do not have."""
    own = {(function.domain, function.name) for function in reading.model.functions}
    nodes = (node for graph in graphs(reading.model) for node in graph.node)
    return sorted(
        {operator(node) for node in nodes if node.domain not in DOMAINS and (node.domain, node.op_type) not in own}
    )


def _operators(reading: Reading) -> frozenset[str]:
    """Return the names of the operators, which are not those of the file's own functions."""
    own = {function.name for function in reading.model.functions}
    return frozenset(text_of(node.op_type) for graph in graphs(reading.model) for node in graph.node) - own


def _tensorrt(refused: str, names: frozenset[str], release: Release) -> Judgement:
    if refused:
        return "no", refused
    version = operators.version_of(release.tensorrt)
    list_of = f"TensorRT {'.'.join(map(str, operators.LIST_OF))}"
    missing = sorted(names - operators.LISTED)
    if missing:
        if version is not None and version <= operators.LIST_OF:
            return "no", f"its parser does not list {_listed(missing)}"
        return "unknown", f"the parser of {list_of} does not list {_listed(missing)}, and newer lists are not known"
    recent = sorted(names & operators.RECENT)
    if recent and version is not None and version < operators.LIST_OF:
        return "unknown", f"the parser of {list_of} lists {_listed(recent)}, older ones may not"
    conditional = sorted(names & operators.CONDITIONAL)
    but = f"with conditions for {_listed(conditional)}" if conditional else "as far as operators and types tell"
    return "yes", f"the parser of {list_of} lists all operators, {but}: {ONLY_A_BUILD}"


def _types_refused(reading: Reading) -> Iterator[str]:
    """Yield the tensors of types that TensorRT's parser does not know."""
    graph = reading.inferred.graph
    for kind, values in (("input", graph.input), ("output", graph.output), ("tensor", graph.value_info)):
        for value in values:
            if value.type.WhichOneof("value") not in ("tensor_type", None):
                yield f"{kind} {text_of(value.name)!r} is not a tensor"
            elif element_type(value.type.tensor_type.elem_type) in operators.REFUSED_TYPES:
                name = element_type(value.type.tensor_type.elem_type)
                yield f"{kind} {text_of(value.name)!r} is {name}, which its parser refuses"
    for tensor in graph.initializer:
        if element_type(tensor.data_type) in operators.REFUSED_TYPES:
            yield f"the weights {text_of(tensor.name)!r} are {element_type(tensor.data_type)}, which its parser refuses"


def _openvino(reading: Reading) -> Judgement:
    for tensor in (*reading.inputs, *reading.outputs):
        if tensor.data_type not in openvino.TYPES:
            return "no", f"its backend has no type for {tensor.name!r}, which is {tensor.data_type}"
    shapeless = next((value.name for value in reading.model.graph.input if dims_of(value) is None), None)
    if shapeless is not None:
        return "unknown", f"input {text_of(shapeless)!r} declares no shape"
    return "unknown", "the types of its inputs and outputs are right; which operators it reads is not known here"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
