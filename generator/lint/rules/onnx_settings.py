"""The settings of the onnxruntime backend: accelerators and parameters, and the values that it reads of them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.onnx_files import BACKEND, SOURCE
from modelrepo.generator.lint.served import dies_of_number, kinds, parameter, place_of, served
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import Key
from modelrepo.generator.triton.parameters import WHOLE, boolean, too_large_number, whole

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
RULES = (ACCELERATOR, ACCELERATOR_OF_A_GPU, PARAMETER)
