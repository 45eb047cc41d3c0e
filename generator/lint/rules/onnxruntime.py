"""The onnxruntime backend: the configuration against the model.onnx, and the model against ONNX Runtime."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from modelrepo.generator.lint.files import onnx_file
from modelrepo.generator.lint.files.onnx_file import External, OnnxFile
from modelrepo.generator.lint.finding import Edit, Place, Problem
from modelrepo.generator.lint.regular import is_file, trouble
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import (
    advised,
    dies_of_number,
    kinds,
    parameter,
    place_of,
    present,
    served,
    told,
    type_of,
)
from modelrepo.generator.lint.subject import Case, is_folder
from modelrepo.generator.lint.text import Key
from modelrepo.generator.triton.onnx_rules import BF16_SINCE, RANK, Mismatch, Refused, completion, mismatches
from modelrepo.generator.triton.parameters import WHOLE, boolean, too_large_number, whole
from modelrepo.generator.triton.releases import Release

BACKEND: Final = "onnxruntime"
SOURCE = "onnxruntime_backend/src/onnxruntime.cc"
# protobuf reads no message that is longer.
MOST_BYTES = 2**31 - 1
# ONNX Runtime promises nothing for older operators, and has few of them.
OLDEST_OPSET = 7
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
# Of these keys, those whose values are truth values and whole numbers; any text does for the others.
TENSORRT_TRUTHS = (
    *(key for key in TENSORRT_KEYS if key.endswith(("_enable", "_fallback", "_log", "_subgraphs"))),
    *("int8_use_native_calibration_table", "trt_force_sequential_engine_build", "trt_force_timing_cache"),
    "trt_dump_ep_context_model",
)
TENSORRT_NUMBERS = (
    *("trt_max_partition_iterations", "trt_min_subgraph_size", "trt_dla_core", "trt_builder_optimization_level"),
    *("trt_auxiliary_streams", "trt_ep_context_embed_mode"),
)
CUDA_TRUTHS = ("do_copy_in_default_stream", "use_ep_level_unified_stream")
# The first release that has BF16 in TensorRT's accelerator.
PRECISION_BF16_SINCE = "26.02"
PRECISIONS = ("FP32", "FP16", "BF16", "INT8")
# Parameters that are whole numbers, and which are allowed (None: all); those that are truth values.
NUMBERS: dict[str, tuple[int, ...] | None] = {
    "intra_op_thread_count": None,
    "inter_op_thread_count": None,
    "execution_mode": (0, 1),
}
REFUSED_NUMBERS = {
    "execution_mode": "Invalid configuration value provided. Expected values for  execution_mode are 0 or 1 but got "
    "{} .",
    "cudnn_conv_algo_search": "unsupported cudnn_conv_algo_search value '{}' is requested",
    "arena_extend_strategy": "unsupported arena_extend_strategy value '{}' is requested",
}
GPU_NUMBERS = {"cudnn_conv_algo_search": (0, 1, 2), "arena_extend_strategy": (0, 1)}
# What ONNX Runtime itself parses: a whole number without a unit, and truth values of its own.
GPU_TEXTS = {
    "gpu_mem_limit": re.compile("[+-]?[0-9]+"),
    "do_copy_in_default_stream": re.compile("[01]|[Tt]rue|[Ff]alse"),
}
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
            fault = file.fault if not other or "ONNX" in other else other[0].lower() + other[1:]
            yield Problem(
                Place(path),
                f"ONNX Runtime can't load {path.name}: {fault}",
                advised(other, "Export or copy the model again, as ONNX"),
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
    """Find files of weights that are missing, or too short for what is in them: each once."""
    for path, file in _files(case):
        yield from lacking(path, file.external)


def lacking(path: Path, external: Iterable[External]) -> Iterator[Problem]:
    """Find what is wrong with the files of an ONNX file's external tensors: each once, all missing ones together."""
    files = _by_location(external)
    missing = {name: tensors for name, tensors in files.items() if name and not is_file(path.parent / name)}
    if missing:
        yield _missing(path, missing)
    for location in (name for name in files if name not in missing):
        there, tensors = path.parent / location, files[location]
        if not location:
            yield Problem(Place(path), f"the weights {_named(tensors)} name no file", "Export the model again")
        elif reason := trouble(there):
            said = (
                f"ONNX Runtime can't read {there.name}, which has weights, if the server's user can't either: {reason}"
            )
            yield Problem(Place(there), said, "Give the server's user the permission to read it")
        else:
            yield from _external_fault(path, there, tensors, _copied(location, path))


def _missing(path: Path, files: dict[str, list[External]]) -> Problem:
    """Return the problem that files of weights, of which there is at least one, are not there."""
    first, count = next(iter(files)), len(files) - 1
    plural = "s" * (count != 1)
    if count:
        said = f"weights in {first} and {count:,} other file{plural}, which are"
        these = f"{first} and {count:,} other{plural}"
    else:
        said, these = f"the weights {_named(files[first])} in {first}, which is", first
    says = f"ONNX Runtime can't load the model: {path.name} has {said} not there"
    return Problem(Place(path), says, _copied(these, path))


def _copied(files: str, path: Path) -> str:
    return f"Copy {files} from where the model was exported, beside {path.name}"


def _by_location(external: Iterable[External]) -> dict[str, list[External]]:
    """Return the tensors that lie in other files, by the file."""
    found: dict[str, list[External]] = {}
    for each in external:
        found.setdefault(each.location, []).append(each)
    return found


def _named(tensors: Sequence[External]) -> str:
    return tensors[0].tensor + (f" and {len(tensors) - 1} more" if len(tensors) > 1 else "")


def _external_fault(path: Path, there: Path, tensors: Sequence[External], write: str) -> Iterator[Problem]:
    for each in tensors:
        if each.unreadable:
            says = f"ONNX Runtime can't load {each.tensor}: '{each.unreadable}' is no offset or length in a file"
            yield Problem(Place(path), says, "Export the model again")
            return
        if each.size is not None and each.length and each.length != each.size:
            said = f"external data size mismatch. Computed size: {each.size}, external_data.length: {each.length}"
            yield Problem(Place(path), f'ONNX Runtime can\'t load {each.tensor}: "{said}"', "Export the model again")
            return
    needed, last = max((each.offset + (each.size or each.length or 0), each.tensor) for each in tensors)
    has = there.stat().st_size
    if has < needed:
        said = f"{there.name} has {has:,} bytes, and the weights {last} end at byte {needed:,}"
        yield Problem(Place(there), f"ONNX Runtime can't load the model: {said}", write)


def outside(case: Case) -> Iterator[Problem]:
    """Find weights outside of the model's folder; both the folder and the one that a link leads to count."""
    for path, file in _files(case):
        yield from escaping(path, file.external)


def escaping(path: Path, external: Iterable[External]) -> Iterator[Problem]:
    """Find an ONNX file's external tensors outside of its folder: each file once."""
    elsewhere = _by_location(external)
    folders = {path.parent.resolve(), path.resolve().parent} if elsewhere else set()
    for location, tensors in elsewhere.items():
        there = path.parent / location
        if not location or not is_file(there):
            continue  # another rule's
        if Path(location).is_absolute():
            said = "Absolute path not allowed for external data location"
        elif not any(there.resolve().is_relative_to(folder) for folder in folders):
            said = "External data path escapes model directory"
        else:
            continue
        where = f"the weights {_named(tensors)} in {location}"
        yield Problem(Place(path), f'ONNX Runtime can\'t load {where}: "{said}"', OUTSIDE.write)


def custom_operators(case: Case) -> Iterator[Problem]:
    """Find operators of domains that ONNX Runtime does not have, without a library that registers them."""
    found = served(case, BACKEND)
    if found is None or found.config.model_operations.op_library_filename:
        return
    on_gpu = found.config.optimization.execution_accelerators.gpu_execution_accelerator
    tensorrt = any(each.name == "tensorrt" for each in on_gpu)
    for path, file in _files(case):
        for domain, said in file.unregistered:
            if not (tensorrt and domain == onnx_file.TENSORRT_DOMAIN):
                yield Problem(Place(path), f'ONNX Runtime can\'t load {path.name}: "{said}"', CUSTOM.write)


def opset(case: Case) -> Iterator[Problem]:
    """Find operator sets that the release's ONNX Runtime does not know."""
    release = case.host.release
    for path, file in _files(case):
        if too_new_an_opset(file, release):
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
        if too_new_a_format(file, release):
            yield Problem(
                Place(path),
                f"ONNX Runtime {release.onnxruntime} can't load it: \"Unsupported model IR version: {file.ir}, max "
                f'supported IR version: {release.max_ir}"',
                f"Set the model's ir_version to {release.max_ir}, if its opset is at most {release.max_opset}",
            )


def older(case: Case) -> Iterator[Problem]:
    """Find operator sets older than those that ONNX Runtime implements."""
    for path, file in _files(case):
        if 0 < file.opset < OLDEST_OPSET:
            said = (
                f"ONNX Runtime implements the operators of opset {OLDEST_OPSET} and later; the model has {file.opset}, "
            )
            said += 'and some operators may lack: "Could not find an implementation for …"'
            yield Problem(Place(path), said, OLD.write)


# What keeps ONNX Runtime from opening a file that can be read here: nothing is filled in then.
OPENING = (lacks_weights, custom_operators, opset, ir_version)


def newer(case: Case) -> Iterator[Problem]:
    """Find models that are newer than what is known of a release."""
    release = case.host.release
    for path, file in _files(case):
        if perhaps_too_new(file, release):
            yield Problem(
                Place(path),
                f"{release.limits}; the model has opset {file.opset} and IR {file.ir}, and may be refused",
                "Export the model with a lower opset, or try it in that release",
            )


def too_new_an_opset(file: OnnxFile, release: Release) -> bool:
    """Whether a release's ONNX Runtime refuses the opset of a model."""
    return not release.bounds_of and file.opset > release.max_opset


def too_new_a_format(file: OnnxFile, release: Release) -> bool:
    """Whether a release's ONNX Runtime refuses the IR version of a model."""
    return not release.bounds_of and file.ir > release.max_ir


def perhaps_too_new(file: OnnxFile, release: Release) -> bool:
    """Whether a release of which little is known may refuse the opset or the IR version of a model."""
    return bool(release.bounds_of) and (file.opset > release.max_opset or file.ir > release.max_ir)


def fills_in(case: Case) -> Iterator[Problem]:
    """Say what Triton fills in where inputs or outputs are not written."""
    for _, _, filled in _completed(case):
        if isinstance(filled, dict) and filled and not any(problem for rule in OPENING for problem in rule(case)):
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
        if isinstance(filled, Refused) and not filled.code:
            batch = "max_batch_size" in str(filled)
            yield Problem(
                place_of(case, "max_batch_size") if batch else place_of(case),
                f'Triton refuses the model, since inputs or outputs are not written: "{filled}"',
                BATCH_WRITE if batch else AUTOFILL.write,
            )


BATCH_WRITE = "Write max_batch_size: 0, or export the model with an open first dimension"


def accelerators(case: Case) -> Iterator[Problem]:
    """Find accelerators and keys that the backend does not know."""
    on_gpu = _may_be_on_gpu(case)
    for field in ACCELERATORS:
        if field != "gpu_execution_accelerator" or on_gpu:
            yield from _accelerators(case, field)


def accelerators_of_a_gpu(case: Case) -> Iterator[Problem]:
    """Find what a host with a GPU would not know, of a host of which it is not known whether it has one."""
    if _may_be_on_gpu(case) is None:
        for each in _accelerators(case, "gpu_execution_accelerator"):
            yield replace(each, says=f"On a host with a GPU: {each.says}")


def unbound(case: Case) -> Iterator[Problem]:
    """Find states and batch_inputs that the model does not have, which only requests notice."""
    found = served(case, BACKEND)
    for _, file in _files(case) if found else ():
        if file.fault or not found:
            continue
        for path, kind, name, data_type in _fed(found.config):
            known = {tensor.name: tensor.data_type for tensor in getattr(file.model, f"{kind}s")}
            if name not in known:
                said = f"the model has no {kind} '{name}', and has {', '.join(known)}"
            elif data_type and known[name] != f"TYPE_{data_type}":
                said = f"the {kind} '{name}' is of {known[name]} in the model"
            else:
                continue
            yield Problem(
                place_of(case, *path), f"Triton loads the model, and every request fails: {said}", UNBOUND.write
            )


def _fed(config: Any) -> Iterator[tuple[tuple[str | int, ...], str, str, str]]:
    """Yield what Triton itself binds to a model: the place, input or output, the name and the type."""
    for number, state in enumerate(config.sequence_batching.state):
        path = ("sequence_batching", "state", number)
        yield (*path, "input_name"), "input", state.input_name, type_of(state)
        yield (*path, "output_name"), "output", state.output_name, type_of(state)
    for number, each in enumerate(config.batch_input):
        for name in each.target_name:
            yield ("batch_input", number, "target_name"), "input", name, type_of(each)


def _may_be_on_gpu(case: Case) -> bool | None:
    """Whether instances are on a GPU; None if that depends on a host that is not known."""
    found = served(case, BACKEND)
    kinds_of = [kind for _, kind, _ in _kinds(case, found)] if found else []
    if "KIND_GPU" in kinds_of or ("default" in kinds_of and case.host.gpus):
        return True
    return None if case.host.gpus is None and {"default", ""} & set(kinds_of) else False


def _accelerators(case: Case, field: str) -> Iterator[Problem]:
    found, known = served(case, BACKEND), ACCELERATORS[field]
    if found:
        written = found.config.optimization.execution_accelerators
        for number, each in enumerate(getattr(written, field)):
            place = place_of(case, "optimization", "execution_accelerators", field, number)
            if each.name not in known:
                said = f"unknown Execution Accelerator '{each.name}' is requested"
                yield Problem(place, f'Triton refuses the model: "{said}"', f"Write {' or '.join(known)}, or nothing")
            elif each.name == "tensorrt":
                yield from _tensorrt_keys(each, place, case.host.release.container)
            elif each.name == "cuda":
                for key in sorted(set(each.parameters) & set(CUDA_TRUTHS)):
                    yield from _value(key, each.parameters[key], place, truth=True)


def _tensorrt_keys(accelerator: Any, place: Place, release: str) -> Iterator[Problem]:
    for key, text in sorted(accelerator.parameters.items()):
        if key not in TENSORRT_KEYS:
            said = f"unknown parameter '{key}' is provided for TensorRT Execution Accelerator"
            yield Problem(place, f'Triton refuses the model: "{said}"', "Write one of its keys, or nothing")
        elif key in TENSORRT_TRUTHS or key in TENSORRT_NUMBERS:
            yield from _value(key, text, place, truth=key in TENSORRT_TRUTHS)
        elif key == "max_workspace_size_bytes" and not WHOLE.match(text):
            said = f"failed to convert '{text}' to unsigned long long integral number"
            yield Problem(place, f'Triton refuses the accelerator\'s {key}: "{said}"', "Write a number of bytes")
    precision = accelerator.parameters.get("precision_mode", "FP32")
    precisions = [each for each in PRECISIONS if each != "BF16" or release >= PRECISION_BF16_SINCE]
    if precision not in precisions:
        said = f"unsupported precision mode '{precision}' is requested"
        yield Problem(place, f'Triton refuses the model: "{said}"', f"Write {' or '.join(precisions)}")


def _value(key: str, text: str, place: Place, *, truth: bool) -> Iterator[Problem]:
    """Find a value of an accelerator that is not a truth value, or not a whole number."""
    if not truth and too_large_number(text):
        yield dies_of_number(place, text)
    elif (boolean(text) if truth else whole(text)) is None:
        said = f"failed to convert '{text}' to {'boolean' if truth else 'integral number'}"
        write = "Write true or false" if truth else "Write a whole number"
        yield Problem(place, f'Triton refuses the accelerator\'s {key}: "{said}"', write)


def parameters(case: Case) -> Iterator[Problem]:
    """Find parameters whose values the backend can't read."""
    found = served(case, BACKEND)
    if found is None:
        return
    on_gpu = any(kind == "KIND_GPU" for _, kind, _ in _kinds(case, found))
    for name, allowed in {**NUMBERS, **(GPU_NUMBERS if on_gpu else {})}.items():
        text = parameter(found.config, name)
        value = None if text is None else whole(text)
        if text is not None and too_large_number(text):
            yield dies_of_number(place_of(case, "parameters", Key(name)), text)
            continue
        if text is not None and value is None:
            said, write = f"failed to convert '{text}' to integral number", "Write a whole number"
        elif value is not None and allowed and value not in allowed:
            said, write = REFUSED_NUMBERS[name].format(value), f"Write one of {', '.join(map(str, allowed))}"
        else:
            continue
        place = place_of(case, "parameters", Key(name))
        yield Problem(place, f'Triton refuses the parameter {name}: "{said}"', write)
    for name, pattern in GPU_TEXTS.items() if on_gpu else ():
        text = parameter(found.config, name)
        if text is not None and not pattern.fullmatch(text):
            said = f"ONNX Runtime can't read the CUDA option {name}, which is '{text}'"
            write = "Write a number of bytes" if name == "gpu_mem_limit" else "Write 0 or 1"
            yield Problem(place_of(case, "parameters", Key(name)), f"Triton refuses the model: {said}", write)
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


Completed: TypeAlias = tuple[OnnxFile, dict[str, Any], dict[str, Any] | Refused]


def _completed(case: Case) -> tuple[Completed, ...]:
    """Return each file, the configuration as JSON, and what the backend fills in, or why it can't."""
    return case.model.once((_complete, case.host.release.container), lambda: tuple(_complete(case)))


def _complete(case: Case) -> Iterator[Completed]:
    from google.protobuf import json_format

    found = served(case, BACKEND)
    readable = [file for _, file in _files(case) if not file.fault] if found else []
    config = json_format.MessageToDict(found.config, preserving_proto_field_name=True) if found and readable else {}
    written = (config.get("input") or config.get("batch_input")) and config.get("output")
    for file in readable:
        if not written and any(RANK in tensor.unsure for tensor in file.model.outputs):
            continue  # only ONNX Runtime knows what is filled in
        try:
            yield file, config, completion(config, file.model, bf16=_has_bf16(case))
        except Refused as error:
            yield file, config, error


def _has_bf16(case: Case) -> bool:
    return case.host.release.container >= BF16_SINCE


def _mismatches(case: Case) -> tuple[Mismatch, ...]:
    bf16 = _has_bf16(case)
    return case.model.once((_compared, bf16, case.host.release.container), lambda: tuple(_compared(case, bf16)))


def _compared(case: Case, bf16: bool) -> Iterator[Mismatch]:
    for file, config, filled in _completed(case):
        if isinstance(filled, Refused):
            if filled.code:
                yield Mismatch(filled.code, (), str(filled))
        else:
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
        needs_config=False,
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
CUSTOM = Rule(
    code="ORT-OPS",
    severity="error",
    title="an operator is of a domain that ONNX Runtime does not have, and no library is named",
    triton='Triton refuses the model: "Fatal error: ai.onnx.contrib:…(-1) is not a registered function/op". The '
    "library of custom operators, which model_operations names, must lie on the server's disk.",
    write='Write model_operations { op_library_filename: "/path/on/the/server.so" }, or export the model without it',
    check=custom_operators,
    decided_by=BACKEND,
    seen="2.51, with our backend in Python",
    needs_config=False,
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
OLD = Rule(
    code="ORT-OLD",
    severity="warning",
    title="the opset is older than those that ONNX Runtime implements",
    triton='Triton refuses the model if an operator of it is not implemented any more: "NOT_IMPLEMENTED : Could not '
    'find an implementation for Add(6) node with name …".',
    write="Convert the model with onnx.version_converter, or export it with a newer opset",
    check=older,
    decided_by=BACKEND,
    source="onnxruntime: docs/Versioning.md",
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
    title="inputs or outputs are not written, and Triton can't complete them",
    triton='Triton refuses the model if max_batch_size is above 0 and the model has a fixed first dimension: "autofill '
    'failed for model …: model does not support batching while non-zero max_batch_size is specified". It does not '
    "complete tensors of a type that Triton lacks, before 26.03 of BF16, and with a dimension of 0: \"model input '…' "
    "must specify 'data_type'\".",
    write="Write both inputs and outputs",
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
ACCELERATOR_OF_A_GPU = Rule(
    code="ORT-EA-GPU",
    severity="warning",
    title="an accelerator of a GPU, or a key of one, is not known, and neither is the host",
    triton="On a host with a GPU Triton refuses the model: \"unknown Execution Accelerator '…' is requested\". On one "
    "without, it does not look.",
    write="Write tensorrt or cuda, or nothing",
    check=accelerators_of_a_gpu,
    decided_by=BACKEND,
    source=SOURCE,
)
UNBOUND = Rule(
    code="ORT-STATE",
    severity="warning",
    title="a state or a batch_input is not in the model, or of another type",
    triton="Triton counts them when it loads the model, and binds them by name for each request, which then fails.",
    write="Write names and types that the model has",
    check=unbound,
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
    *(EMPTY_FOLDER, UNREADABLE, LARGE, WEIGHTS, OUTSIDE, CUSTOM, OPSET, IR, OLD, NEWER, AUTO, AUTOFILL),
    *map(_rule, WRITE),
    *(OPEN, ACCELERATOR, ACCELERATOR_OF_A_GPU, UNBOUND, PARAMETER),
)
