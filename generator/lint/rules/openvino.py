"""The openvino backend: kinds, parameters, types, batches, and the configuration against the model.xml."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from modelrepo.generator.lint.files import openvino_ir
from modelrepo.generator.lint.files.openvino_ir import OpenvinoFile, Value
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file, trouble
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import advised, kinds, parameter, place_of, present, served, told, type_of
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import Key
from modelrepo.generator.triton.onnx_rules import text_of
from modelrepo.generator.triton.parameters import too_large_number

BACKEND: Final = "openvino"
SOURCE = "openvino_backend/src/openvino.cc"
# openvino_utils.cc: ModelConfigDataTypeToOpenVINOElement.
TYPES = ("BOOL", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "FP16", "FP32")
# The first release that has the parameter TARGET_DEVICE.
DEVICE_SINCE = "25.10"
NUMBER = "a non-negative number"
# The parameters that are read, and which values of them: words in lower case, or whole numbers.
PARAMETERS: dict[str, tuple[tuple[str, ...], bool, str]] = {
    "INFERENCE_NUM_THREADS": ((), True, NUMBER),
    "COMPILATION_NUM_THREADS": ((), True, NUMBER),
    "HINT_BF16": (("yes",), False, "YES"),
    "NUM_STREAMS": (("auto", "numa"), True, "either AUTO/NUMA/<int_value>"),
    "PERFORMANCE_HINT": (
        ("latency", "throughput", "cumulative_throughput"),
        False,
        "LATENCY/THROUGHPUT/CUMULATIVE_THROUGHPUT",
    ),
}


def unreadable(case: Case) -> Iterator[Problem]:
    """Find files that are not OpenVINO models."""
    for path, file in _files(case):
        if file.fault:
            other = told(path)
            said = f"{other}; " if other and "OpenVINO" not in other and "XML" not in other else ""
            says = f"OpenVINO can't read {path.name}: {said}{file.fault}"
            yield Problem(Place(path), says, advised(other, UNREADABLE.write))


def lacks_weights(case: Case) -> Iterator[Problem]:
    """Find weights that are missing, or too short for the model."""
    for path, file in _files(case):
        weights = path.with_suffix(".bin")
        has = weights.stat().st_size if is_file(weights) else None
        if file.weights and has is None:
            said = f"OpenVINO can't read {path.name}: its weights {weights.name} are not there"
            yield Problem(Place(path), said, f"Copy {weights.name} there from where the model was converted")
        elif has and (reason := trouble(weights)):
            yield Problem(
                Place(weights), f"OpenVINO can't read {weights.name} if the server's user can't either: {reason}", READ
            )
        elif has is not None and has < file.weights:
            said = f"OpenVINO can't read {path.name}: {weights.name} has {has:,} bytes of {file.weights:,}"
            yield Problem(Place(weights), said, "Copy both files again from where the model was converted")


def kind(case: Case) -> Iterator[Problem]:
    """Find instances that are not on the CPU, as the core resolves them."""
    found = served(case, BACKEND)
    for number, name, _ in kinds(found.config, case.host.gpus) if found else ():
        if name in ("KIND_GPU", "KIND_MODEL"):
            newer = case.host.release.container >= DEVICE_SINCE
            only = (
                "OpenVINO backend supports only Kind CPU and AUTO"
                if newer
                else "openVINO backend supports only CPU device"
            )
            said = f"unable to load model '{case.model.name}', Triton {only}"
            place = place_of(case, "instance_group", number, "kind")
            yield Problem(place, f'Triton refuses the model: "{said}"', KIND.write)


def kind_of_host(case: Case) -> Iterator[Problem]:
    """Find instances whose kind depends on the host."""
    found = served(case, BACKEND)
    for number, name, _ in kinds(found.config, case.host.gpus) if found else ():
        if not name:
            said = "On a host with a GPU the core makes it KIND_GPU, and the backend refuses the model"
            yield Problem(place_of(case, "instance_group", number), said, AUTO.write)


def parameters(case: Case) -> Iterator[Problem]:
    """Find parameters whose values are refused."""
    found = served(case, BACKEND)
    for name, (words, numbers, expected) in PARAMETERS.items() if found else ():
        text = (parameter(found.config, name) if found else None) or ""
        if text and text.lower() not in words and not (numbers and text.isascii() and text.isdigit()):
            said = f"expected the parameter '{name}' to be {expected}, got {text.lower()}"
            place = place_of(case, "parameters", Key(name))
            yield Problem(place, f'Triton refuses the model: "{said}"', f"Write {expected}")
        elif numbers and text.isdigit() and too_large_number(text):
            place = place_of(case, "parameters", Key(name))
            said = "ModelInstanceState::Create exception"
            yield Problem(place, f'Triton refuses the model: "{said}"', f"Write a number up to {2**31 - 1}")


def data_type(case: Case) -> Iterator[Problem]:
    """Find types that the backend does not have."""
    found = served(case, BACKEND)
    for field in ("input", "output") if found else ():
        for number, tensor in enumerate(getattr(found.config, field) if found else ()):
            name = type_of(tensor)
            if name and name not in TYPES:
                said = f"unsupported datatype TYPE_{name} for {field} '{tensor.name}' for model '{case.model.name}'"
                place = place_of(case, field, number, "data_type")
                yield Problem(place, f'Triton refuses the model: "{said}"', TYPE.write)


def batches(case: Case) -> Iterator[Problem]:
    """Find models that take batches of one size only, whatever the configuration seems to say."""
    found = served(case, BACKEND)
    if found is None or found.config.max_batch_size < 2:
        return
    most = found.config.max_batch_size
    if (parameter(found.config, "ENABLE_BATCH_PADDING") or "").lower() == "yes":
        said = f"Triton pads smaller batches to {most}, and answers a full batch after a padded one with an error"
    else:
        said = f'Triton refuses every execution that is not of exactly {most} samples: "expected requests with batch '
        said += f"size '{most}', got '1'\""
    yield Problem(place_of(case, "max_batch_size"), said, BATCH.write)


def inputs(case: Case) -> Iterator[Problem]:
    """Find a number of inputs that differs from the model's."""
    found = served(case, BACKEND)
    for _, file in _files(case):
        written = len(found.config.input) if found else 0
        if written and not file.fault and written != len(file.inputs):
            said = f"configuration expects {written} inputs, model provides {len(file.inputs)}"
            yield Problem(place_of(case, "input"), f'Triton refuses the model: "{said}"', INPUTS.write)


def names(case: Case) -> Iterator[Problem]:
    """Find names that the model does not have, and values of the model without a name."""
    for field, number, tensor, known in _tensors(case):
        if not any(tensor.name in value.names for value in known):
            allowed = ", ".join(sorted(value.names[0] for value in known if value.names))
            said = f"unexpected inference {field} '{tensor.name}', allowed {field}s are: {allowed}"
            yield Problem(place_of(case, field, number, "name"), f'Triton refuses the model: "{said}"', NAMES.write)


def dims(case: Case) -> Iterator[Problem]:
    """Find dims that the model does not have."""
    found = served(case, BACKEND)
    if found is None or (parameter(found.config, "RESHAPE_IO_LAYERS") or "").lower() == "yes":
        return
    batched = found.config.max_batch_size > 0
    for field, number, tensor, known in _tensors(case):
        value = next((each for each in known if tensor.name in each.names), None)
        if value is None or value.dims is None or not tensor.dims:
            continue
        written = tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        full = (found.config.max_batch_size, *written) if batched else written
        if len(full) != len(value.dims) or not _fits(field, value.dims, full, batched):
            said = (
                f"tensor '{tensor.name}': the model expects {len(value.dims)} dimensions (shape {value.text}) but the "
            )
            said += (
                f"model configuration specifies {len(full)} dimensions ({'complete ' * batched}shape {text_of(full)})"
            )
            yield Problem(place_of(case, field, number, "dims"), f'Triton refuses the model: "{said}"', DIMS.write)


def _fits(field: str, model: Sequence[tuple[int, int | None]], full: Sequence[int], batched: bool) -> bool:
    """Whether dims fit, as far as the file tells: an output of a batched model is inferred once more."""
    if not batched:
        return all(map(_matches, model, full))
    return field == "output" or all(
        size == -1 or _matches(own, size) for own, size in zip(model[1:], full[1:], strict=True)
    )


def _matches(own: tuple[int, int | None], size: int) -> bool:
    """Whether a size fits one of the model (``doesMatch``, which takes neither limit for a fit)."""
    least, most = own
    return most is None or (size == most if least == most else least < size < most)


def _tensors(case: Case) -> Iterator[tuple[str, int, Any, tuple[Value, ...]]]:
    """Yield the inputs and outputs of the configuration, and all of that kind that the model has."""
    found = served(case, BACKEND)
    for _, file in _files(case):
        for field, known in (("input", file.inputs), ("output", file.outputs)):
            for number, tensor in enumerate(getattr(found.config, field) if found and not file.fault else ()):
                if tensor.name and type_of(tensor):
                    yield field, number, tensor, known


def _files(case: Case) -> Iterator[tuple[Path, OpenvinoFile]]:
    """Yield the files in OpenVINO's own format that a server loads."""
    for path in present(case, BACKEND):
        if path.suffix == ".xml":
            yield path, case.model.read(openvino_ir.read, path)


READ = "Give the server's user the permission to read it"
UNREADABLE = Rule(
    code="OV-READ",
    severity="error",
    title="the file is not an OpenVINO model, is empty, or is truncated",
    triton="Triton refuses the model with OpenVINO's reason.",
    write="Convert or copy the model again",
    check=unreadable,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
WEIGHTS = Rule(
    code="OV-BIN",
    severity="error",
    title="the weights beside model.xml are missing, or too short",
    triton="Triton refuses the model with OpenVINO's reason.",
    write="Copy both files from where the model was converted",
    check=lacks_weights,
    decided_by=BACKEND,
    source="openvino: src/frontends/ir",
    needs_config=False,
)
KIND = Rule(
    code="OV-KIND",
    severity="error",
    title="an instance is not on the CPU",
    triton='Triton refuses the model: "Triton OpenVINO backend supports only Kind CPU and AUTO", before 25.10 "only '
    'CPU device". On a host with a GPU, KIND_AUTO becomes KIND_GPU.',
    write="Write kind: KIND_CPU; since 25.10 the parameter TARGET_DEVICE chooses the device",
    check=kind,
    decided_by=BACKEND,
    source=SOURCE,
)
AUTO = Rule(
    code="OV-AUTO",
    severity="warning",
    title="an instance_group does not say KIND_CPU",
    triton="On a host with a supported GPU, the core makes it KIND_GPU, which the backend refuses.",
    write="Write kind: KIND_CPU",
    check=kind_of_host,
    decided_by=BACKEND,
    source="core/src/model_config_utils.cc, NormalizeInstanceGroup",
)
PARAMETER = Rule(
    code="OV-PARAM",
    severity="error",
    title="a parameter has a value that is refused",
    triton="Triton refuses the model: \"expected the parameter '…' to be …, got …\". A parameter that it does not know "
    "is ignored.",
    write="Write one of the values that the backend names",
    check=parameters,
    decided_by=BACKEND,
    source=SOURCE,
)
TYPE = Rule(
    code="OV-TYPE",
    severity="error",
    title="a data_type is none of the backend's",
    triton="Triton refuses the model: \"unsupported datatype TYPE_… for input '…'\".",
    write=f"Write one of {', '.join(f'TYPE_{name}' for name in TYPES)}",
    check=data_type,
    decided_by=BACKEND,
    source="openvino_backend/src/openvino_utils.cc",
)
BATCH = Rule(
    code="OV-BATCH",
    severity="warning",
    title="max_batch_size is above 1",
    triton="Triton refuses every execution that does not have exactly that many samples. The parameter "
    "ENABLE_BATCH_PADDING pads them, and full batches then fail after a padded one (openvino_backend, pull request "
    "115).",
    write="Write max_batch_size: 0 with -1 as the first of dims, and several instances and NUM_STREAMS",
    check=batches,
    decided_by=BACKEND,
    source=SOURCE,
)
INPUTS = Rule(
    code="OV-CNT",
    severity="error",
    title="the number of inputs differs from the model's",
    triton='Triton refuses the model: "configuration expects … inputs, model provides …".',
    write="List every input of the model, and no other",
    check=inputs,
    decided_by=BACKEND,
    source=SOURCE,
)
NAMES = Rule(
    code="OV-NAME",
    severity="error",
    title="the model has no input or output of a name",
    triton="Triton refuses the model: \"unexpected inference input '…', allowed inputs are: …\".",
    write="Write the name that the model has",
    check=names,
    decided_by=BACKEND,
    source=SOURCE,
)
DIMS = Rule(
    code="OV-DIM",
    severity="error",
    title="dims differ from the model's",
    triton="Triton refuses the model. A size that the model fixes must be written; with max_batch_size 0, -1 does not "
    "stand for it.",
    write="Write the dims of the model, without the batch dimension if max_batch_size is above 0",
    check=dims,
    decided_by=BACKEND,
    source="openvino_backend/src/openvino_utils.cc, CompareDimsSupported",
)
RULES = (UNREADABLE, WEIGHTS, KIND, AUTO, PARAMETER, TYPE, BATCH, INPUTS, NAMES, DIMS)
