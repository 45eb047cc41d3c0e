"""The tensorrt backend: what a configuration and the header of a plan tell. Only TensorRT reads the rest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import advised, kinds, parameter, place_of, present, served, told, type_of
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import Key
from modelrepo.generator.tensorrt import header
from modelrepo.generator.triton.parameters import whole

BACKEND: Final = "tensorrt"
INSTANCE = "tensorrt_backend/src/instance_state.cc"
# tensorrt_utils.cc: ConvertDataTypeToTrtType.
TYPES = ("BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "BF16", "FP32")
DEVICES, DEVICES_SINCE = "enable_multi_device", "26.06"
STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")
CAPABILITY = re.compile(r"\d+\.\d")


def per_capability(case: Case) -> Iterator[Problem]:
    """Find names of plans for GPUs that are no capability, or of files that are not there."""
    found = served(case, BACKEND)
    if found is None:
        return
    for capability, name in sorted(found.config.cc_model_filenames.items()):
        place = place_of(case, "cc_model_filenames", Key(capability))
        if not CAPABILITY.fullmatch(capability):
            said = f"Triton never uses it: no GPU has the compute capability {capability!r}"
            yield Problem(place, said, 'Write the capability as "8.6"')
            continue
        for number, path in found.files.items():
            if not is_file(path.parent / name):
                said = f"On a GPU of capability {capability} Triton refuses the model: version {number} lacks {name}"
                yield Problem(place, said, f"Copy the plan for these GPUs to {number}/{name}")


def unreadable(case: Case) -> Iterator[Problem]:
    """Find files that are not plans."""
    for path in _plans(case):
        try:
            case.model.read(header.read, path)
        except ConversionError as error:
            other = told(path)
            known = other and "TensorRT" not in other
            fault = f"{path.name}: {other[0].lower()}{other[1:]}" if known else _of_file(error.message, path)
            said = f'Triton refuses the model: "unable to create TensorRT engine"; {fault}'
            yield Problem(Place(path), said, advised(other, error.hint or "Build the plan again"))


def newer(case: Case) -> Iterator[Problem]:
    """Find plans of a TensorRT that is newer than the release's."""
    yield from _differing(case, newer=True)


def older(case: Case) -> Iterator[Problem]:
    """Find plans of a TensorRT that is older than the release's."""
    yield from _differing(case, newer=False)


def _differing(case: Case, *, newer: bool) -> Iterator[Problem]:
    release = case.host.release
    for path in _plans(case):
        try:
            plan = case.model.read(header.read, path)
        except ConversionError:
            continue
        if header.compared(plan, release.tensorrt) != ("newer" if newer else "older"):
            continue
        says = f"the plan was built by TensorRT {plan.version}, and Triton {release.container} has {release.tensorrt}"
        if newer:
            yield Problem(Place(path), f"Triton refuses the model: {says}", NEWER.write)
        else:
            yield Problem(Place(path), f"Triton refuses the model unless it is version compatible: {says}", OLDER.write)


def unknown_release(case: Case) -> Iterator[Problem]:
    """Say that the TensorRT of a release is not known."""
    for path in _plans(case) if case.host.release.tensorrt is None else ():
        try:
            plan = case.model.read(header.read, path)
        except ConversionError:
            continue
        says = f"the TensorRT of Triton {case.host.release.container} is not known; it must be {plan.version}"
        yield Problem(Place(path), says, UNKNOWN.write)


def kind(case: Case) -> Iterator[Problem]:
    """Find instances that are not on a GPU."""
    found = served(case, BACKEND)
    if found is None:
        return
    devices = _on_several(case)
    for number, name, _ in kinds(found.config, case.host.gpus):
        without = name == "default" and case.host.gpus == 0
        if without or name == "KIND_CPU" or (name == "KIND_MODEL" and not devices):
            place = place_of(case) if number is None else place_of(case, "instance_group", number, "kind")
            on_cpu = " on this host without a GPU" if without or not case.host.gpus else ""
            said = f"unable to load model '{case.model.name}', TensorRT backend supports only GPU device"
            yield Problem(place, f'Triton refuses the model{on_cpu}: "{said}"', KIND.write)


def _on_several(case: Case) -> bool:
    """Whether a model runs on several GPUs as one."""
    found = served(case, BACKEND)
    text = (parameter(found.config, DEVICES) if found else None) or ""
    return text.lower() in ("true", "1") and case.host.release.container >= DEVICES_SINCE


def several(case: Case) -> Iterator[Problem]:
    """Find models for several GPUs that are not of KIND_MODEL, or name fewer than two."""
    found = served(case, BACKEND)
    if found is None or not _on_several(case):
        return
    for number, name, _ in kinds(found.config, case.host.gpus):
        if name == "KIND_GPU":
            said = (
                f"unable to load model '{case.model.name}', TensorRT Multi-Device ({DEVICES}) requires instance_group "
            )
            place = place_of(case, "instance_group", number, "kind")
            yield Problem(place, f'Triton refuses the model: "{said}kind KIND_MODEL"', "Write kind: KIND_MODEL")
    listed = parameter(found.config, "multi_device_gpus")
    entries = [each for each in (listed or "").split(",") if each.strip(" \t")]
    broken = next((each for each in entries if whole(each.strip(" \t")) is None), None)
    if listed is None:
        said = "model configuration is missing the parameter multi_device_gpus"
    elif broken is not None:
        said = (
            f"Invalid 'multi_device_gpus' entry '{broken}' for model '{case.model.name}'; expected comma-separated GPU "
        )
        said += "ids."
    elif len(entries) < 2:
        said = f"'{DEVICES}' is true but 'multi_device_gpus' lists fewer than 2 GPUs for model '{case.model.name}'; "
        said += "multi-device requires at least 2 ranks."
    else:
        return
    place = place_of(case, "parameters", Key(DEVICES if listed is None else "multi_device_gpus"))
    yield Problem(place, f'Triton refuses the model: "{said}"', SEVERAL.write)


def data_type(case: Case) -> Iterator[Problem]:
    """Find types that TensorRT does not have."""
    found = served(case, BACKEND)
    for field in ("input", "output") if found else ():
        for number, tensor in enumerate(getattr(found.config, field) if found else ()):
            name = type_of(tensor)
            if name and name not in TYPES:
                place = place_of(case, field, number, "data_type")
                said = f"unsupported datatype TYPE_{name} for {field} '{tensor.name}' for model '{case.model.name}'"
                yield Problem(place, f'Triton refuses the model: "{said}"', TYPE.write)


def graph(case: Case) -> Iterator[Problem]:
    """Find CUDA graphs for batches that the model does not take."""
    found = served(case, BACKEND)
    if found is None or not found.config.optimization.cuda.graphs:
        return
    most = found.config.max_batch_size
    for number, spec in enumerate(found.config.optimization.cuda.graph_spec):
        has_lower = spec.HasField("graph_lower_bound")
        sizes = [spec.batch_size, *([spec.graph_lower_bound.batch_size] if has_lower else [])]
        if most == 0 and any(sizes):
            said = "graph spec expects 'batch_size' to be 0 if 'max_batch_size' is 0"
        elif most > 0 and not all(1 <= size <= most for size in sizes):
            said = f"graph spec expects 'batch_size' to be >= 1 and <= {most}"
        elif sizes[-1] > sizes[0]:
            said = "graph lower bound spec expects 'batch_size' to be <= graph spec 'batch_size'"
        else:
            said = next(_shapes(spec), "")
        if said:
            place = place_of(case, "optimization", "cuda", "graph_spec", number, *(["batch_size"] * ("batch" in said)))
            yield Problem(place, f'Triton refuses the model: "{said}"', GRAPH.write)


def _shapes(spec: Any) -> Iterator[str]:
    """Yield what is wrong with the shapes of a graph_spec and of its lower bound (``ValidateGraphSpec``)."""
    bound = spec.graph_lower_bound.input if spec.HasField("graph_lower_bound") else spec.input
    for name, shape in sorted(spec.input.items()):
        if name not in bound:
            yield f"graph lower bound spec expects shape for input '{name}'"
            continue
        most, least = list(shape.dim), list(bound[name].dim)
        if len(most) != len(least):
            yield f"graph lower bound spec expects to have '{len(most)}' dimensions, got {len(least)}"
        for high, low in zip(most, least, strict=False):
            if min(high, low) < 0:
                yield f"graph spec expects input '{name}' to have dimension >= 0"
            elif low > high:
                yield f"graph lower bound spec expects input '{name}' to have dimension <= {high}"


def strategy(case: Case) -> Iterator[Problem]:
    """Find a strategy for execution contexts that is not known."""
    found = served(case, BACKEND)
    name = "execution_context_allocation_strategy"
    text = parameter(found.config, name) if found else None
    if text is not None and text not in STRATEGIES:
        said = f"Invalid value for '{name}': '{text}' for model instance '{case.model.name}'. Supported values are "
        said += "'STATIC' and 'ON_PROFILE_CHANGE'."
        yield Problem(place_of(case, "parameters", Key(name)), f'Triton refuses the model: "{said}"', STRATEGY.write)


def _plans(case: Case) -> Iterator[Path]:
    """Yield every plan that a server may load: of each version, the default and those for kinds of GPU."""
    yield from present(case, BACKEND)
    found = served(case, BACKEND)
    for path in found.files.values() if found else ():
        for name in sorted(set(found.config.cc_model_filenames.values()) if found else ()):
            if name != path.name and is_file(path.parent / name):
                yield path.parent / name


def _of_file(message: str, path: Path) -> str:
    return message.replace(str(path), path.name)


CAPABILITIES = Rule(
    code="TRT-CC",
    severity="warning",
    title="cc_model_filenames names no capability, or a file that is not there",
    triton="On a GPU whose compute capability is a key, Triton loads that file instead of default_model_filename.",
    write='Write keys such as "8.6", and copy the files into each version',
    check=per_capability,
    decided_by=BACKEND,
    source="backend/src/backend_model_instance.cc",
)
UNREADABLE = Rule(
    code="TRT-READ",
    severity="error",
    title="the file is not a plan, is empty, or is cut off",
    triton='Triton refuses the model: "unable to create TensorRT engine", or "unable to load plan file to auto '
    'complete config". Only the header is read here: that a plan is damaged further on, or was built for another kind '
    "of GPU, only TensorRT notices.",
    write="Build the plan again",
    check=unreadable,
    decided_by=BACKEND,
    source="tensorrt_backend/src/loader.cc",
    needs_config=False,
)
NEWER = Rule(
    code="TRT-NEWER",
    severity="error",
    title="the plan was built by a newer TensorRT than the release's",
    triton="Triton refuses the model: a plan never runs on an older TensorRT. Which one a release has is known from "
    "reports, as far as these agree.",
    write="Build the plan in the image of the release",
    check=newer,
    decided_by=BACKEND,
    source="tensorrt_backend/src/loader.cc",
    needs_config=False,
)
OLDER = Rule(
    code="TRT-OLDER",
    severity="warning",
    title="the plan was built by an older TensorRT than the release's",
    triton="Triton refuses the model, unless it was built as version compatible and the server was started with "
    "--backend-config=tensorrt,version-compatible=true. The header does not say which it is.",
    write="Build the plan in the image of the release",
    check=older,
    decided_by=BACKEND,
    source="tensorrt_backend/src/loader.cc",
    needs_config=False,
)
UNKNOWN = Rule(
    code="TRT-RELEASE",
    severity="information",
    title="the TensorRT of the release is not known",
    triton="Triton loads a plan only with the TensorRT that built it.",
    write="Build the plan in the image of the release",
    check=unknown_release,
    decided_by=BACKEND,
    source="tensorrt_backend/src/loader.cc",
    needs_config=False,
)
KIND = Rule(
    code="TRT-KIND",
    severity="error",
    title="an instance is not on a GPU",
    triton='Triton refuses the model: "TensorRT backend supports only GPU device". KIND_MODEL needs the parameter '
    "enable_multi_device, which Triton has since 26.06.",
    write="Write kind: KIND_GPU, and serve it on a host with a GPU",
    check=kind,
    decided_by=BACKEND,
    source=INSTANCE,
)
TYPE = Rule(
    code="TRT-TYPE",
    severity="error",
    title="a data_type is none of TensorRT's",
    triton="Triton refuses the model: \"unsupported datatype TYPE_… for input '…'\".",
    write=f"Write one of {', '.join(f'TYPE_{name}' for name in TYPES)}",
    check=data_type,
    decided_by=BACKEND,
    source=INSTANCE,
)
GRAPH = Rule(
    code="TRT-GRAPH",
    severity="error",
    title="a graph_spec is for a batch, or for shapes, that the model does not take",
    triton="Triton refuses the model if optimization.cuda.graphs is on: \"graph spec expects 'batch_size' to be >= 1 "
    'and <= …".',
    write="Write a batch_size from 1 to max_batch_size; 0 only if max_batch_size is 0",
    check=graph,
    decided_by=BACKEND,
    source=INSTANCE,
)
STRATEGY = Rule(
    code="TRT-ALLOC",
    severity="error",
    title="execution_context_allocation_strategy is not known",
    triton="Triton refuses the model: \"Supported values are 'STATIC' and 'ON_PROFILE_CHANGE'.\"",
    write="Write STATIC or ON_PROFILE_CHANGE",
    check=strategy,
    decided_by=BACKEND,
    source="tensorrt_backend/src/model_state.cc",
    since="25.05",
)
SEVERAL = Rule(
    code="TRT-DEVICES",
    severity="error",
    title="a model for several GPUs is not of KIND_MODEL, or names fewer than two GPUs",
    triton='Triton refuses the model: "TensorRT Multi-Device (enable_multi_device) requires instance_group kind '
    "KIND_MODEL\", or \"'enable_multi_device' is true but 'multi_device_gpus' lists fewer than 2 GPUs\".",
    write='Write kind: KIND_MODEL, and the numbers of two GPUs or more in multi_device_gpus, such as "0,1"',
    check=several,
    decided_by=BACKEND,
    source="tensorrt_backend/src/model_state.cc, ParseMultiDeviceParameters",
    since=DEVICES_SINCE,
)
RULES = (CAPABILITIES, UNREADABLE, NEWER, OLDER, UNKNOWN, KIND, SEVERAL, TYPE, GRAPH, STRATEGY)
