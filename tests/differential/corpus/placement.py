"""Instances, versions, backends, warm-up and the rest of a configuration."""

from tests.differential.case import Case
from tests.differential.texts import BATCHED, PLAIN, X, Y, cases


def _group(more: str) -> str:
    return f"instance_group {{ {more} }}"


def _warm(more: str) -> str:
    return f'model_warmup {{ name: "w" {more} }}'


ROW = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }'

CASES = [
    *cases(
        "instances",
        PLAIN,
        [
            ("empty", _group(""), ""),
            ("cpu", _group("kind: KIND_CPU count: 2"), ""),
            ("model", _group("kind: KIND_MODEL"), ""),
            ("auto", _group("kind: KIND_AUTO"), ""),
            ("gpu", _group("kind: KIND_GPU"), "IG-GPU"),
            ("gpu_0", _group("kind: KIND_GPU gpus: 0"), "IG-GPU"),
            ("auto_with_gpus", _group("gpus: [ 0 ]"), "IG-AUTO"),
            ("cpu_with_gpus", _group("kind: KIND_CPU gpus: [ 0 ]"), "IG-CPU"),
            ("model_with_gpus", _group("kind: KIND_MODEL gpus: [ 0 ]"), "IG-CPU"),
            ("count_0", _group("count: 0"), ""),
            ("count_negative", _group("count: -1"), ""),
            ("two", _group("kind: KIND_CPU") + _group("kind: KIND_CPU count: 2"), ""),
            ("names_twice", 2 * _group('name: "g" kind: KIND_CPU'), ""),
            ("passive", _group("kind: KIND_CPU passive: true"), ""),
            ("policy", _group('kind: KIND_CPU host_policy: "numa_0"'), ""),
            ("profile", _group('kind: KIND_CPU profile: "0"'), "PROFILE"),
            ("profile_word", _group('kind: KIND_CPU profile: "a"'), "PROFILE"),
            ("secondary", _group("kind: KIND_CPU secondary_devices { kind: KIND_NVDLA device_id: 0 }"), ""),
            (
                "rate_limiter",
                _group('kind: KIND_CPU rate_limiter { priority: 2 resources { name: "R" count: 4 } }'),
                "",
            ),
            ("rate_limiter_nameless", _group("kind: KIND_CPU rate_limiter { resources { count: 4 } }"), ""),
            ("cpu_and_gpu", _group("kind: KIND_CPU") + _group("kind: KIND_GPU"), "IG-GPU"),
        ],
    ),
    *cases(
        "instances_plan",
        f'platform: "tensorrt_plan" {X}{Y}',
        [
            ("profile", _group('kind: KIND_CPU profile: "0"'), ""),
            ("profile_word", _group('kind: KIND_CPU profile: "a"'), "PROFILE"),
            ("profile_negative", _group('kind: KIND_CPU profile: "-1"'), "PROFILE"),
            ("profile_twice", _group('kind: KIND_CPU profile: [ "0", "0" ]'), ""),
            ("profile_with_text", _group('kind: KIND_CPU profile: "1x"'), ""),
            ("cpu", _group("kind: KIND_CPU"), ""),
        ],
    ),
    *cases(
        "versions",
        PLAIN,
        [
            ("all", "version_policy { all { } }", ""),
            ("latest_1", "version_policy { latest { num_versions: 1 } }", ""),
            ("latest_many", "version_policy { latest { num_versions: 4294967295 } }", ""),
            ("latest_0", "version_policy { latest { num_versions: 0 } }", "VP"),
            ("latest_empty", "version_policy { latest { } }", "VP"),
            ("specific_1", "version_policy { specific { versions: 1 } }", ""),
            ("specific_missing", "version_policy { specific { versions: 2 } }", "VP"),
            ("specific_partly", "version_policy { specific { versions: [ 1, 2 ] } }", ""),
            ("specific_twice", "version_policy { specific { versions: [ 1, 1 ] } }", ""),
            ("specific_empty", "version_policy { specific { } }", "VP"),
            ("specific_negative", "version_policy { specific { versions: -1 } }", "VP"),
            ("empty", "version_policy { }", ""),
        ],
    ),
    *[
        Case(f"folder_{name}", PLAIN + policy, versions=versions, errors=tuple(codes.split()))
        for name, versions, policy, codes in [
            ("none", (), "", "VDIR-NONE"),
            ("one", ("1",), "", ""),
            ("zero", ("0",), "", ""),
            ("leading_zero", ("01",), "", "VDIR-NONE"),
            ("leading_zero_beside", ("01", "2"), "", ""),
            ("words", ("latest",), "", "VDIR-NONE"),
            ("beside_words", ("1", "latest"), "", ""),
            ("with_suffix", ("1", "2.tmp"), "", ""),
            ("negative", ("-1",), "", ""),
            ("negative_beside", ("1", "-1"), "", ""),
            ("plus", ("+1",), "", ""),
            ("space", (" 1",), "", ""),
            ("space_behind", ("1 ",), "", ""),
            ("hexadecimal", ("0x1",), "", "VDIR-NONE"),
            ("float", ("1.5",), "", ""),
            ("large", ("9223372036854775807",), "", ""),
            ("many", ("1", "2", "10"), "version_policy { all { } }", ""),
            ("specific", ("1", "2", "10"), "version_policy { specific { versions: [ 2, 10 ] } }", ""),
            ("hidden", (".1", "1"), "", ""),
            ("cache", ("__pycache__", "1"), "", ""),
        ]
    ],
    Case("folder_too_large", PLAIN, versions=("20241031123456789012",), errors=("VDIR-BIG",), alone=True),
    *cases(
        "backend",
        X + Y,
        [
            ("missing", "", "AUTOFILL"),
            ("unknown", 'backend: "no_such"', "BACKEND"),
            ("unknown_platform", 'platform: "no_such"', "PLAT"),
            ("onnx", 'backend: "onnxruntime"', ""),
            ("onnx_platform", 'platform: "onnxruntime_onnx"', ""),
            ("onnx_both", 'backend: "onnxruntime" platform: "onnxruntime_onnx"', ""),
            ("onnx_and_plan", 'backend: "onnxruntime" platform: "tensorrt_plan"', "PLAT"),
            ("onnx_short_platform", 'platform: "onnx"', "PLAT"),
            ("onnx_as_platform", 'platform: "onnxruntime"', "PLAT"),
            ("plan", 'platform: "tensorrt_plan"', ""),
            ("plan_backend", 'backend: "tensorrt"', ""),
            ("torch", 'platform: "pytorch_libtorch"', ""),
            ("torch_backend", 'backend: "pytorch"', ""),
            ("torch_other_platform", 'backend: "pytorch" platform: "torch_aoti"', "PLAT"),
            ("saved_model", 'platform: "tensorflow_savedmodel"', ""),
            ("graph_def", 'backend: "tensorflow" platform: "tensorflow_graphdef"', ""),
            ("tensorflow_alone", 'backend: "tensorflow"', "PLAT"),
            ("openvino", 'backend: "openvino"', ""),
            ("openvino_platform", 'platform: "openvino"', "PLAT"),
            ("python", 'backend: "python"', ""),
            ("python_platform", 'platform: "python"', "PLAT"),
            ("light_with_platform", 'backend: "light" platform: "anything"', ""),
            ("in_capitals", 'backend: "ONNXRuntime"', "BACKEND"),
            ("ensemble_platform", 'platform: "ensemble"', "ENS"),
            ("ensemble_backend", 'backend: "ensemble"', "BACKEND"),
            ("runtime_missing", 'backend: "light" runtime: "libtriton_other.so"', "BACKEND"),
            ("file_name", 'backend: "light" default_model_filename: "model.bin"', ""),
            ("file_name_outside", 'backend: "light" default_model_filename: "../model.bin"', ""),
            ("cc_names", 'backend: "light" cc_model_filenames { key: "8.6" value: "m" }', ""),
            ("operations", 'backend: "light" model_operations { op_library_filename: "a.so" }', ""),
        ],
    ),
    *cases(
        "name",
        PLAIN,
        [
            ("other", 'name: "another"', "NAME"),
            ("same", 'name: "name_same"', ""),
            ("empty", 'name: ""', ""),
            ("in_capitals", 'name: "Name_in_capitals"', "NAME"),
        ],
    ),
    *cases(
        "warm",
        BATCHED,
        [
            ("zero", _warm(f"batch_size: 1 {ROW}"), ""),
            ("whole_batch", _warm(f"batch_size: 8 {ROW}"), ""),
            ("batch_0", _warm(ROW), ""),
            ("no_inputs", _warm("batch_size: 1"), "WARM-INPUT"),
            ("count", _warm(f"batch_size: 1 count: 3 {ROW}"), ""),
            (
                "random",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 random_data: true } }'),
                "",
            ),
            (
                "no_data",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 } }'),
                "WARM",
            ),
            (
                "other_input",
                _warm('batch_size: 1 inputs { key: "z" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }'),
                "WARM-INPUT",
            ),
            (
                "other_type",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_INT32 dims: 4 zero_data: true } }'),
                "WARM-INPUT",
            ),
            (
                "other_dims",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 5 zero_data: true } }'),
                "WARM-INPUT",
            ),
            (
                "variable",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: -1 zero_data: true } }'),
                "WARM",
            ),
            (
                "missing_file",
                _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 input_data_file: "f" } }'),
                "WARM",
            ),
            ("nameless", f"model_warmup {{ batch_size: 1 {ROW} }}", ""),
            ("twice", 2 * _warm(f"batch_size: 1 {ROW}"), ""),
        ],
    ),
    Case("warm_too_large", BATCHED + _warm(f"batch_size: 9 {ROW}"), alone=True),
    Case("warm_two_of_none", PLAIN + _warm(f"batch_size: 2 {ROW}"), alone=True),
    *cases(
        "rest",
        BATCHED,
        [
            ("parameters", 'parameters { key: "a" value { string_value: "b" } }', ""),
            ("metric_tags", 'metric_tags { key: "a" value: "b" }', ""),
            ("metric_tag_reserved", 'metric_tags { key: "model" value: "b" }', ""),
            ("decoupled", "model_transaction_policy { decoupled: true }", ""),
            ("agents", 'model_repository_agents { agents { name: "no_such" } }', "AGENT"),
            ("graph_level", "optimization { graph { level: -5 } }", ""),
            ("priority", "optimization { priority: PRIORITY_MAX }", ""),
            ("cuda_graphs", "optimization { cuda { graphs: true graph_spec { batch_size: 4 } } }", ""),
            (
                "accelerator",
                'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }',
                "",
            ),
            (
                "unknown_accelerator",
                'optimization { execution_accelerators { cpu_execution_accelerator { name: "no_such" } } }',
                "",
            ),
            ("pinned", "optimization { input_pinned_memory { enable: false } output_pinned_memory { } }", ""),
            ("gather", "optimization { gather_kernel_buffer_threshold: 9 eager_batching: true }", ""),
        ],
    ),
    Case(
        "label_there",
        PLAIN.replace("dims: [ 4 ] }\noutput", "dims: [ 4 ] }\noutput")
        + 'output { name: "z" data_type: TYPE_FP32 dims: 4 label_filename: "l.txt" }',
        {"l.txt": "a\nb\n"},
    ),
    Case("tag_without_a_label", BATCHED + 'metric_tags { key: "a b" value: "c" }', errors=("METRIC-TAG",), alone=True),
    Case("tag_with_a_digit", BATCHED + 'metric_tags { key: "1a" value: "c" }'),
    Case("tag_with_a_dash", BATCHED + 'metric_tags { key: "a-b" value: "c" }', errors=("METRIC-TAG",), alone=True),
    Case("tag_with_a_colon", BATCHED + 'metric_tags { key: "a:b" value: "c" }', errors=("METRIC-TAG",), alone=True),
    Case("tag_with_underlines", BATCHED + 'metric_tags { key: "__a" value: "c" }', errors=("METRIC-TAG",), alone=True),
    Case("tag_with_an_underline", BATCHED + 'metric_tags { key: "_a" value: "c" }', errors=("METRIC-TAG",), alone=True),
    Case("tag_with_underlines_inside", BATCHED + 'metric_tags { key: "a__b_" value: "c" }'),
    Case("tag_twice_the_model", BATCHED + 'metric_tags { key: "model" value: "c" }', alone=True),
    Case("agents_empty", BATCHED + "model_repository_agents { }", errors=("AGENT-NONE",), alone=True),
    Case("no_config", None, errors=("ROOT",)),
    Case("empty_config", "", errors=("AUTOFILL",)),
    Case(
        "warm_from_file",
        BATCHED
        + _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 input_data_file: "f" } }'),
        {"warmup/f": b"\0" * 16},
    ),
    Case(
        "warm_from_short_file",
        BATCHED
        + _warm('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 input_data_file: "f" } }'),
        {"warmup/f": b"\0" * 15},
        errors=("WARM",),
    ),
]
