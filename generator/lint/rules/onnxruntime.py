"""The onnxruntime backend: the configuration against the model.onnx, and the model against ONNX Runtime."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from modelrepo.generator.lint.files import onnx_file
from modelrepo.generator.lint.files.onnx_file import External, OnnxFile
from modelrepo.generator.lint.finding import Edit, Place, Problem
from modelrepo.generator.lint.regular import is_file, trouble
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import (
    kinds,
    parameter,
    place_of,
    present,
    served,
    told,
)
from modelrepo.generator.lint.subject import Case, is_folder
from modelrepo.generator.lint.text import Key
from modelrepo.generator.triton.onnx_rules import BF16_SINCE, Mismatch, Refused, completion, mismatches
from modelrepo.generator.triton.parameters import boolean, whole

BACKEND: Final = "onnxruntime"
SOURCE = "onnxruntime_backend/src/onnxruntime.cc"
# protobuf reads no message that is longer.
MOST_BYTES = 2**31 - 1
# The accelerators of each processor, and the keys of TensorRT's (``ModelState::LoadModel``).
ACCELERATORS = {"gpu_execution_accelerator": ("tensorrt", "cuda"), "cpu_execution_accelerator": ("openvino",)}
TENSORRT_KEYS = (
    *("precision_mode", "max_workspace_size_bytes", "int8_calibration_table_name", "int8_use_native_calibration_table"),
    *("trt_max_partition_iterations", "trt_min_subgraph_size", "trt_dla_enable", "trt_dla_core"),
    *("trt_engine_cache_enable", "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_dump_subgraphs"),
    *("trt_force_sequential_engine_build", "trt_context_memory_sharing_enable", "trt_layer_norm_fp32_fallback"),
    *("trt_timing_cache_enable", "trt_timing_cache_path", "trt_force_timing_cache", "trt_detailed_build_log"),
    *("trt_build_heuristics_enable", "trt_sparsity_enable", "trt_builder_optimization_level", "trt_auxiliary_streams"),
    *("trt_tactic_sources", "trt_extra_plugin_lib_paths", "trt_profile_min_shapes", "trt_profile_max_shapes"),
    *("trt_profile_opt_shapes", "trt_cuda_graph_enable", "trt_dump_ep_context_model", "trt_ep_context_file_path"),
    "trt_ep_context_embed_mode",
)
PRECISIONS = ("FP32", "FP16", "BF16", "INT8")
# Parameters that are whole numbers, and which are allowed (None: all); those that are truth values.
NUMBERS: dict[str, tuple[int, ...] | None] = {
    "intra_op_thread_count": None,
    "inter_op_thread_count": None,
    "execution_mode": (0, 1),
}
GPU_NUMBERS = {"cudnn_conv_algo_search": (0, 1, 2), "arena_extend_strategy": (0, 1)}
TRUTHS = ("enable_mem_arena", "enable_mem_pattern")


def empty_folder(case: Case) -> Iterator[Problem]:
    """Find folders in the place of the file that have no file."""
    found = served(case, BACKEND)
    for path in found.files.values() if found else ():
        if is_folder(path) and not is_file(path / "model.onnx"):
            yield Problem(
                Place(path),
                f'{path.name} is a folder, and Triton looks for model.onnx in it: "unable to find '
                f"'{path / 'model.onnx'}' for model instance '{case.model.name}'\"",
                "Name the file in the folder model.onnx",
            )


def unreadable(case: Case) -> Iterator[Problem]:
    """Find files that are not ONNX models."""
    for path, file in _files(case):
        if file.fault:
            other = told(path)
            said = f"{other}; " if other and "ONNX" not in other else ""
            yield Problem(
                Place(path),
                f"ONNX Runtime can't load {path.name}: {said}{file.fault}",
                "Export or copy the model again, as ONNX",
            )


def too_large(case: Case) -> Iterator[Problem]:
    """Find files that protobuf can't read."""
    for path in present(case, BACKEND):
        size = path.stat().st_size
        if size > MOST_BYTES:
            yield Problem(
                Place(path),
                f'ONNX Runtime can\'t load {path.name}, which has {size:,} bytes: "Protobuf parsing failed."',
                LARGE.write,
            )


def lacks_weights(case: Case) -> Iterator[Problem]:
    """Find files of weights that are missing, or too short for what is in them."""
    for path, file in _files(case):
        for external in file.external:
            yield from _external_fault(path, external)


def _external_fault(path: Path, external: External) -> Iterator[Problem]:
    there = path.parent / external.location
    write = f"Copy {external.location or 'the file'} from where the model was exported, beside {path.name}"
    if not external.location:
        yield Problem(Place(path), f"the weights {external.tensor} name no file", "Export the model again")
    elif not is_file(there):
        said = f"{path.name} has the weights {external.tensor} in {external.location}, which is not there"
        yield Problem(Place(path), f"ONNX Runtime can't load the model: {said}", write)
    elif reason := trouble(there):
        said = f"ONNX Runtime can't read {there.name}, which has weights, if the server's user can't either: {reason}"
        yield Problem(Place(there), said, "Give the server's user the permission to read it")
    elif external.size is not None and external.length and external.length != external.size:
        said = f"external data size mismatch. Computed size: {external.size}, external_data.length: {external.length}"
        yield Problem(Place(path), f'ONNX Runtime can\'t load {external.tensor}: "{said}"', "Export the model again")
    else:
        needed = external.offset + (external.size or external.length or 0)
        has = there.stat().st_size
        if has < needed:
            said = f"{there.name} has {has:,} bytes, and the weights {external.tensor} end at byte {needed:,}"
            yield Problem(Place(there), f"ONNX Runtime can't load the model: {said}", write)


def outside(case: Case) -> Iterator[Problem]:
    """Find weights outside of the model's folder; both the folder and the one that a link leads to count."""
    for path, file in _files(case):
        folders = {path.parent.resolve(), path.resolve().parent}
        for external in file.external:
            there = path.parent / external.location
            if not external.location or not is_file(there):
                continue  # another rule's
            if Path(external.location).is_absolute():
                said = "Absolute path not allowed for external data location"
            elif not any(there.resolve().is_relative_to(folder) for folder in folders):
                said = "External data path escapes model directory"
            else:
                continue
            where = f"the weights {external.tensor} in {external.location}"
            yield Problem(Place(path), f'ONNX Runtime can\'t load {where}: "{said}"', OUTSIDE.write)


def opset(case: Case) -> Iterator[Problem]:
    """Find operator sets that the release's ONNX Runtime does not know."""
    release = case.host.release
    for path, file in _files(case):
        if not release.bounds_of and file.opset > release.max_opset:
            yield Problem(
                Place(path),
                f'ONNX Runtime {release.onnxruntime} refuses opset {file.opset}: "Current official support for domain '
                f'ai.onnx is till opset {release.max_opset}."',
                f"Export the model with opset {release.max_opset} or lower, or serve it with a newer release",
            )


def ir_version(case: Case) -> Iterator[Problem]:
    """Find versions of ONNX's format that the release's ONNX Runtime does not know."""
    release = case.host.release
    for path, file in _files(case):
        if not release.bounds_of and file.ir > release.max_ir:
            yield Problem(
                Place(path),
                f"ONNX Runtime {release.onnxruntime} can't load it: \"Unsupported model IR version: {file.ir}, max "
                f'supported IR version: {release.max_ir}"',
                f"Set the model's ir_version to {release.max_ir}, if its opset is at most {release.max_opset}",
            )


def newer(case: Case) -> Iterator[Problem]:
    """Find models that are newer than what is known of a release."""
    release = case.host.release
    for path, file in _files(case):
        if release.bounds_of and (file.opset > release.max_opset or file.ir > release.max_ir):
            yield Problem(
                Place(path),
                f"{release.limits}; the model has opset {file.opset} and IR {file.ir}, and may be refused",
                "Export the model with a lower opset, or try it in that release",
            )


def fills_in(case: Case) -> Iterator[Problem]:
    """Say what Triton fills in where inputs or outputs are not written."""
    for _, _, filled in _completed(case):
        if isinstance(filled, dict) and filled:
            yield Problem(place_of(case), f"Triton fills in {_in_words(filled)}", AUTO.write, _as_edits(case, filled))


def _in_words(filled: dict[str, Any]) -> str:
    words = [f"the {field}s" for field in ("input", "output") if field in filled]
    if "max_batch_size" in filled:
        words.append(f"max_batch_size: {filled['max_batch_size']}")
    if "dynamic_batching" in filled:
        words.append("dynamic batching")
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _as_edits(case: Case, filled: dict[str, Any]) -> tuple[Edit, ...]:
    """Return the edit that writes what is filled in; none if the text has an empty field of it."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    config = case.model.config
    if config is None or any(name in config.tree.fields for name in filled):
        return ()
    try:
        message = json_format.ParseDict(filled, model_config_pb2.ModelConfig())
    except json_format.ParseError:  # a type that Triton does not have
        return ()
    text = text_format.MessageToString(message)
    return (Edit(config.path, (0, 0), (0, 0), ("" if config.text.endswith("\n") else "\n") + text),)


def cannot_fill_in(case: Case) -> Iterator[Problem]:
    """Find configurations that the backend can't complete."""
    for _, _, filled in _completed(case):
        if isinstance(filled, Refused):
            yield Problem(
                place_of(case, "max_batch_size"),
                f'Triton refuses the model, since inputs or outputs are not written: "{filled}"',
                AUTOFILL.write,
            )


def accelerators(case: Case) -> Iterator[Problem]:
    """Find accelerators and keys that the backend does not know."""
    found = served(case, BACKEND)
    if found is None:
        return
    written = found.config.optimization.execution_accelerators
    on_gpu = any(kind == "KIND_GPU" or (kind == "default" and case.host.gpus) for _, kind, _ in _kinds(case, found))
    for field, known in ACCELERATORS.items():
        if field == "gpu_execution_accelerator" and not on_gpu:
            continue
        for number, each in enumerate(getattr(written, field)):
            place = place_of(case, "optimization", "execution_accelerators", field, number)
            if each.name not in known:
                said = f"unknown Execution Accelerator '{each.name}' is requested"
                yield Problem(place, f'Triton refuses the model: "{said}"', f"Write {' or '.join(known)}, or nothing")
            elif each.name == "tensorrt":
                yield from _tensorrt_keys(each, place)


def _tensorrt_keys(accelerator: Any, place: Place) -> Iterator[Problem]:
    for key in sorted(accelerator.parameters):
        if key not in TENSORRT_KEYS:
            said = f"unknown parameter '{key}' is provided for TensorRT Execution Accelerator"
            yield Problem(place, f'Triton refuses the model: "{said}"', "Write one of its keys, or nothing")
    precision = accelerator.parameters.get("precision_mode", "FP32")
    if precision not in PRECISIONS:
        said = f"unsupported precision mode '{precision}' is requested"
        yield Problem(place, f'Triton refuses the model: "{said}"', f"Write {' or '.join(PRECISIONS)}")


def parameters(case: Case) -> Iterator[Problem]:
    """Find parameters whose values the backend can't read."""
    found = served(case, BACKEND)
    if found is None:
        return
    on_gpu = any(kind == "KIND_GPU" for _, kind, _ in _kinds(case, found))
    for name, allowed in {**NUMBERS, **(GPU_NUMBERS if on_gpu else {})}.items():
        text = parameter(found.config, name)
        value = None if text is None else whole(text)
        if text is not None and value is None:
            said, write = f"failed to convert '{text}' to integral number", "Write a whole number"
        elif value is not None and allowed and value not in allowed:
            said, write = f"{value} for {name}", f"Write one of {', '.join(map(str, allowed))}"
        else:
            continue
        place = place_of(case, "parameters", Key(name))
        yield Problem(place, f'Triton refuses the parameter {name}: "{said}"', write)
    for name in TRUTHS:
        text = parameter(found.config, name)
        if text is not None and boolean(text) is None:
            place = place_of(case, "parameters", Key(name))
            said = f"failed to convert '{text}' to boolean"
            yield Problem(place, f'Triton refuses the parameter {name}: "{said}"', "Write true or false")


def _kinds(case: Case, found: Any) -> list[tuple[int | None, str, int]]:
    return list(kinds(found.config, case.host.gpus))


def _files(case: Case) -> Iterator[tuple[Path, OnnxFile]]:
    """Yield the ONNX files that a server loads; none in ONNX Runtime's own format."""
    for path in present(case, BACKEND):
        file = case.model.read(onnx_file.read, path)
        if file is not None:
            yield path, file


def _completed(case: Case) -> Iterator[tuple[OnnxFile, dict[str, Any], dict[str, Any] | Refused]]:
    """Yield each file, the configuration as JSON, and what the backend fills in, or why it can't."""
    from google.protobuf import json_format

    found = served(case, BACKEND)
    for _, file in _files(case):
        if file.fault or found is None:
            continue
        config = json_format.MessageToDict(found.config, preserving_proto_field_name=True)
        try:
            yield file, config, completion(config, file.model)
        except Refused as error:
            yield file, config, error


def _mismatches(case: Case) -> tuple[Mismatch, ...]:
    bf16 = case.host.release.container >= BF16_SINCE
    return case.model.once((_compared, bf16), lambda: tuple(_compared(case, bf16)))


def _compared(case: Case, bf16: bool) -> Iterator[Mismatch]:
    for file, config, filled in _completed(case):
        if isinstance(filled, dict):
            broken = set(_refused_by_the_core(config))
            found = mismatches({**config, **filled}, file.model, bf16=bf16)
            yield from (each for each in found if each.path[:2] not in broken)


def _refused_by_the_core(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for kind in ("input", "output"):
        for number, written in enumerate(config.get(kind, ())):
            if not all(written.get(field) for field in ("name", "data_type", "dims")):
                yield kind, number


def _of(code: str, case: Case, *, sure: bool = True) -> Iterator[Problem]:
    """Find the mismatches of one rule."""
    for found in _mismatches(case):
        if found.code == code and found.sure == sure:
            verb = "refuses the model" if sure else "refuses the model if ONNX Runtime knows no more of this shape"
            write = f"Write {found.wanted}" if found.wanted else WRITE[code]
            yield Problem(place_of(case, *found.path), f'Triton {verb}: "{found.reason}"', write)


# What to write instead, for each mismatch of a configuration and its model.
WRITE = {
    "ORT-NAME": "Write the name that the model has",
    "ORT-CNT": "List every input of the model, and no other; one that has a value of its own in the model is optional",
    "ORT-TYPE": "Write the data_type that the model has",
    "ORT-BF16": "Serve it with release 26.03 or newer, or export the model with FP32 or FP16 inputs and outputs",
    "ORT-DIM": "Write the dims of the model, without the batch dimension if max_batch_size is above 0",
    "ORT-BATCH": "Write max_batch_size: 0 and the dims in full, or export the model with an open first dimension",
    "ORT-SCALAR": "Write dims: [ 1 ]",
    "ORT-OPT": "Write max_batch_size: 0, or take out optional",
    "ORT-RAG": "Take out allow_ragged_batch, or export the model with an input of shape [-1]",
    "ORT-CTRL": "Name an input of the model that has shape [1] and the type of the control's values",
    "ORT-SEQ": "Export the model with tensors only; for a classifier of scikit-learn: with zipmap=False",
}
TITLES = {
    "ORT-NAME": "the model has no input or output of a name",
    "ORT-CNT": "the number of inputs differs from the model's",
    "ORT-TYPE": "a data_type differs from the model's",
    "ORT-BF16": "an input or output is BF16",
    "ORT-DIM": "dims differ from the model's",
    "ORT-BATCH": "max_batch_size is above 0, and the model's first dimension is fixed",
    "ORT-SCALAR": "a scalar of the model has dims other than 1",
    "ORT-OPT": "an input is optional, and max_batch_size is above 0",
    "ORT-RAG": "a ragged input is not of shape [-1] in the model",
    "ORT-CTRL": "a sequence control does not fit the model",
    "ORT-SEQ": "the model has an input or output that is not a tensor",
}
DETAILS = {
    "ORT-CNT": "The inputs that are not optional, the batch_inputs, controls and states together must be as many as "
    "the model's inputs. Outputs may be left out.",
    "ORT-DIM": "An input may fix a size that the model leaves open, and not the reverse. An output must have exactly "
    "the model's sizes, as ONNX Runtime infers them: they may be known although the file leaves them open.",
}


def _rule(code: str) -> Rule:
    return Rule(
        code=code,
        severity="error",
        title=TITLES[code],
        triton=f"Triton refuses the model. {DETAILS.get(code, '')}".strip(),
        write=WRITE[code],
        check=partial(_of, code),
        decided_by=BACKEND,
        source=SOURCE,
        before=BF16_SINCE if code == "ORT-BF16" else "",
    )


EMPTY_FOLDER = Rule(
    code="ORT-FILE",
    severity="error",
    title="a folder is in the place of the ONNX file, without a model.onnx",
    triton="Triton looks for model.onnx in it, and refuses the model: \"unable to find '…/1/model.onnx/model.onnx' for "
    'model instance …".',
    write="Name the file in the folder model.onnx",
    check=empty_folder,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
UNREADABLE = Rule(
    code="ORT-READ",
    severity="error",
    title="the file is not an ONNX model, is empty, or is truncated",
    triton='Triton refuses the model: "onnx runtime error 7: Load model from … failed:Protobuf parsing failed."',
    write="Export or copy the model again",
    check=unreadable,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
LARGE = Rule(
    code="ORT-2GB",
    severity="error",
    title="the ONNX file is larger than 2 GiB",
    triton='Triton refuses the model: "Protobuf parsing failed." protobuf reads no message of 2 GiB or more.',
    write="Save the weights as external data beside the model",
    check=too_large,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model.cc",
    needs_config=False,
)
WEIGHTS = Rule(
    code="ORT-EXT",
    severity="error",
    title="a file of external weights is missing, or too short",
    triton="Triton refuses the model with ONNX Runtime's reason.",
    write="Copy the file from where the model was exported, beside the model",
    check=lacks_weights,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/framework/tensorprotoutils.cc",
    needs_config=False,
)
OUTSIDE = Rule(
    code="ORT-OUTSIDE",
    severity="error",
    title="external weights lie outside of the model's folder",
    triton='Triton refuses the model since ONNX Runtime 1.24: "External data path escapes model directory". Older '
    "releases load it from a disk, and not from an object store.",
    write="Move the file into the folder of the model, and name it without a path",
    check=outside,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/framework/tensorprotoutils.cc, ValidateExternalDataPath",
    needs_config=False,
    since="26.02",
)
OPSET = Rule(
    code="ORT-OPSET",
    severity="error",
    title="the opset is newer than the release's ONNX Runtime",
    triton='Triton refuses the model: "ONNX Runtime only *guarantees* support for models stamped with official '
    'released onnx opset versions."',
    write="Export the model with a lower opset, or serve it with a newer release",
    check=opset,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model_load_utils.h",
    needs_config=False,
)
IR = Rule(
    code="ORT-IR",
    severity="error",
    title="the IR version is newer than the release's ONNX Runtime",
    triton='Triton refuses the model: "Unsupported model IR version: 13, max supported IR version: 11".',
    write="Lower the model's ir_version, or serve it with a newer release",
    check=ir_version,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model.cc",
    needs_config=False,
)
NEWER = Rule(
    code="ORT-NEWER",
    severity="warning",
    title="the model is newer than what is known of the release's ONNX Runtime",
    triton="Triton may refuse the model: which ONNX Runtime this release has is not known.",
    write="Export the model with a lower opset, or try it in that release",
    check=newer,
    decided_by=BACKEND,
    source="the release notes",
    needs_config=False,
)
AUTO = Rule(
    code="ORT-AUTO",
    severity="information",
    title="inputs or outputs are not written",
    triton="Triton completes them from the model. If every first dimension is open and max_batch_size is 0, it also "
    "writes max_batch_size: 4 and turns on dynamic batching; it does neither if both inputs and outputs are written. A "
    "server that was started with --disable-auto-complete-config refuses the model.",
    write="Write both inputs and outputs, and max_batch_size",
    check=fills_in,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
    fixable=True,
)
AUTOFILL = Rule(
    code="ORT-AUTOFILL",
    severity="error",
    title="max_batch_size is above 0, inputs or outputs are not written, and the model has a fixed first dimension",
    triton='Triton refuses the model: "autofill failed for model …: model does not support batching while non-zero '
    'max_batch_size is specified".',
    write="Write max_batch_size: 0, or export the model with an open first dimension",
    check=cannot_fill_in,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
OPEN = Rule(
    code="ORT-SHAPE",
    severity="warning",
    title="an output fixes a size that the model's file leaves open",
    triton="Triton compares with the shape that ONNX Runtime infers, and refuses the model if that is open too. The "
    "file alone does not say it here.",
    write=WRITE["ORT-DIM"],
    check=partial(_of, "ORT-DIM", sure=False),
    decided_by=BACKEND,
    source=SOURCE,
)
ACCELERATOR = Rule(
    code="ORT-EA",
    severity="error",
    title="an accelerator, or a key of one, is not known",
    triton="Triton refuses the model: \"unknown Execution Accelerator '…' is requested\". Those of GPUs are only "
    "looked at for instances on a GPU.",
    write="Write tensorrt or cuda for a GPU, openvino for a CPU, or nothing",
    check=accelerators,
    decided_by=BACKEND,
    source=SOURCE,
)
PARAMETER = Rule(
    code="ORT-PARAM",
    severity="error",
    title="a parameter has a value that the backend can't read",
    triton='Triton refuses the model: "failed to convert \'…\' to integral number", or "to boolean".',
    write="Write a whole number, or true or false",
    check=parameters,
    decided_by=BACKEND,
    source=SOURCE,
)
RULES = (
    *(EMPTY_FOLDER, UNREADABLE, LARGE, WEIGHTS, OUTSIDE, OPSET, IR, NEWER, AUTO, AUTOFILL),
    *map(_rule, WRITE),
    *(OPEN, ACCELERATOR, PARAMETER),
)
