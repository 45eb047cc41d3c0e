"""Configurations in the styles of others: exporters, examples, and what people write by hand.

The texts are our own; each follows how a project writes its files. Only what the core decides counts here: no model
files lie in the folders.
"""

from tests.differential.case import Case
from tests.differential.texts import cases

YOLO_TENSORS = """
input [ { name: "images" data_type: TYPE_FP32 dims: [ 3, 640, 640 ] } ]
output [ { name: "output0" data_type: TYPE_FP32 dims: [ 84, 8400 ] } ]
"""
TENSORRT_OF_ONNX = """
optimization {
  execution_accelerators {
    gpu_execution_accelerator {
      name: "tensorrt"
      parameters { key: "precision_mode" value: "FP16" }
      parameters { key: "max_workspace_size_bytes" value: "3221225472" }
      parameters { key: "trt_engine_cache_enable" value: "1" }
      parameters { key: "trt_engine_cache_path" value: "/models/yolo/1" }
    }
  }
}
"""
METADATA = """
parameters {
  key: "metadata"
  value {
    string_value: "%s"
  }
}
"""
# As Ultralytics' guide writes the dictionary of its exporter: with the quotes that Python's repr chooses.
NAMES = "{'description': 'Ultralytics YOLO11x model', 'stride': 32, 'names': {0: 'person', 1: 'bicycle'}}"
APOSTROPHE = """{'names': {0: "men's shoe", 1: 'bag'}}"""

ULTRALYTICS = cases(
    "ultralytics",
    'backend: "onnxruntime"\n',
    [
        ("guide", METADATA % NAMES, ""),
        ("apostrophe", METADATA % APOSTROPHE, "PARSE"),
        ("escaped", METADATA % APOSTROPHE.replace('"', r"\""), ""),
        ("gpu", TENSORRT_OF_ONNX + METADATA % NAMES, ""),
        ("tensors", f"max_batch_size: 0 {YOLO_TENSORS}{TENSORRT_OF_ONNX}", ""),
        ("lines", METADATA % "{'args':\n{'batch': 1}}", "PARSE"),
        ("gpu_instance", YOLO_TENSORS + "instance_group [ { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]", "IG-GPU"),
        ("trailing_comma", 'input [ { name: "images", data_type: TYPE_FP32, dims: [ 3, 640, 640 ], }, ]', "PARSE"),
        (
            "batch_within",
            YOLO_TENSORS.replace("3, 640", "1, 3, 640").replace("84,", "1, 84,") + "max_batch_size: 0",
            "",
        ),
        ("dynamic", f"max_batch_size: 16 {YOLO_TENSORS} dynamic_batching {{ }}", ""),
        ("chinese_comment", f"# 模型名称 和你的文件夹一一对应\n{YOLO_TENSORS}", ""),
        ("chinese_colon", f"max_batch_size\uff1a 8 {YOLO_TENSORS}", "PARSE"),
        ("typo", "input [ { name: 'images' datatype: TYPE_FP32 dims: [ 3 ] } ]", "PARSE"),
        ("num_version", f"{YOLO_TENSORS} version_policy: {{ latest {{ num_version: 1 }} }}", "PARSE"),
        ("end_to_end", YOLO_TENSORS.replace("84, 8400", "300, 6"), ""),
    ],
)

# Every field is written, in the order of the protocol, as protobuf's MessageToString does.
NAVIGATOR = cases(
    "navigator",
    "",
    [
        (
            "onnx",
            """name: "navigator_onnx"
max_batch_size: 16
input {
  name: "input__0"
  data_type: TYPE_FP32
  dims: 3
  dims: 224
  dims: 224
}
output {
  name: "output__0"
  data_type: TYPE_FP32
  dims: 1000
}
instance_group {
  kind: KIND_CPU
}
dynamic_batching {
}
optimization {
}
backend: "onnxruntime"
response_cache {
}
model_warmup {
  name: "warmup"
  batch_size: 1
  inputs {
    key: "input__0"
    value {
      data_type: TYPE_FP32
      dims: 3
      dims: 224
      dims: 224
      random_data: true
    }
  }
}
parameters {
  key: "intra_op_thread_count"
  value {
    string_value: "4"
  }
}
""",
            "",
        ),
        (
            "plan",
            """backend: "tensorrt" max_batch_size: 64
input { name: "x" data_type: TYPE_FP16 dims: -1 } output { name: "y" data_type: TYPE_FP16 dims: -1 }
instance_group { count: 1 kind: KIND_GPU } dynamic_batching { preferred_batch_size: 32 preferred_batch_size: 64
max_queue_delay_microseconds: 100 } optimization { cuda { graphs: true busy_wait_events: true } }""",
            "IG-GPU",
        ),
        (
            "torch",
            """backend: "pytorch" platform: "pytorch_libtorch" max_batch_size: 8
input { name: "INPUT__0" data_type: TYPE_INT64 dims: -1 }
output { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ -1, 2 ] }
parameters { key: "DISABLE_OPTIMIZED_EXECUTION" value { string_value: "true" } }
parameters { key: "INFERENCE_MODE" value { string_value: "true" } }""",
            "",
        ),
        (
            "savedmodel",
            """platform: "tensorflow_savedmodel" max_batch_size: 4 input { name: "a" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "b" data_type: TYPE_FP32 dims: [ 4 ] }
optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt"
parameters { key: "precision_mode" value: "fp16" } } } }""",
            "",
        ),
        (
            "queue",
            """backend: "python" max_batch_size: 4 input { name: "a" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } dynamic_batching { priority_levels: 5 default_priority_level: 3
default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1 allow_timeout_override: true
max_queue_size: 10 } priority_queue_policy { key: 2 value { max_queue_size: 4 } } }""",
            "",
        ),
    ],
)

MERLIN = [
    *cases(
        "nvtabular",
        "",
        [
            (
                "workflow",
                """backend: "nvtabular"
input { name: "user_id" data_type: TYPE_INT64 dims: -1 dims: 1 }
input { name: "item_history" data_type: TYPE_INT64 dims: -1 dims: -1 allow_ragged_batch: true }
output { name: "user_id" data_type: TYPE_INT64 dims: -1 dims: 1 }
instance_group { kind: KIND_AUTO }
parameters { key: "python_module" value { string_value: "merlin.systems.triton.models.workflow_model" } }
parameters { key: "cats" value { string_value: "[\\"user_id\\"]" } }""",
                "",
            ),
            (
                "json_parameter",
                """backend: "python" input { name: "a" data_type: TYPE_INT64 dims: [ -1, 1 ] }
output { name: "a" data_type: TYPE_INT64 dims: [ -1, 1 ] }
parameters { key: "config" value { string_value: '{"cats": ["a"], "conts": []}' } }""",
                "",
            ),
            (
                "json_unquoted",
                """backend: "python" parameters { key: "config" value { string_value: "{"cats": ["a"]}" } }""",
                "PARSE",
            ),
            (
                "hugectr",
                """backend: "hugectr" max_batch_size: 64
input [ { name: "DES" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "CATCOLUMN" data_type: TYPE_INT64 dims: [ -1 ] },
{ name: "ROWINDEX" data_type: TYPE_INT32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
parameters [ { key: "gpucacheper" value: { string_value: "0.5" } },
{ key: "gpucache" value: { string_value: "true" } } ]
instance_group [ { count: 1 kind : KIND_GPU gpus:[0] } ]""",
                "IG-GPU",
            ),
        ],
    ),
    Case(
        "merlin_ensemble",
        """platform: "ensemble"
input { name: "user_id" data_type: TYPE_INT64 dims: -1 dims: 1 }
output { name: "score" data_type: TYPE_FP32 dims: -1 dims: 1 }
ensemble_scheduling {
  step { model_name: "merlin_0_workflow" model_version: -1
    input_map { key: "user_id" value: "user_id" } output_map { key: "user_id" value: "user_id_0" } }
  step { model_name: "merlin_1_predict" model_version: -1
    input_map { key: "user_id" value: "user_id_0" } output_map { key: "score" value: "score" } }
}""",
        others={
            "merlin_0_workflow": Case(
                "merlin_0_workflow",
                'backend: "python" input { name: "user_id" data_type: TYPE_INT64 dims: [ -1, 1 ] } '
                'output { name: "user_id" data_type: TYPE_INT64 dims: [ -1, 1 ] }',
            ),
            "merlin_1_predict": Case(
                "merlin_1_predict",
                'platform: "tensorflow_savedmodel" input { name: "user_id" data_type: TYPE_INT64 dims: [ -1, 1 ] } '
                'output { name: "score" data_type: TYPE_FP32 dims: [ -1, 1 ] }',
            ),
        },
    ),
]

TEXT_TENSORS = """input [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] },
{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] } ]
output { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] }
"""
HUGGING_FACE = [
    *cases(
        "optimum",
        'name: ""\nplatform: "onnxruntime_onnx"\n',
        [
            ("text", f"max_batch_size: 8 {TEXT_TENSORS} dynamic_batching {{ preferred_batch_size: [ 8 ] }}", ""),
            ("whole_shapes", TEXT_TENSORS.replace("[ -1 ]", "[ -1, -1 ]").replace("[ 2 ]", "[ -1, 2 ]"), ""),
            ("torch_types", TEXT_TENSORS.replace("TYPE_INT64", "torch.int64"), "PARSE"),
            ("numpy_types", TEXT_TENSORS.replace("TYPE_INT64", "TYPE_LONG"), "PARSE"),
            ("zero_for_any", TEXT_TENSORS.replace("[ -1 ]", "[ 0 ]"), "DIM"),
            ("name_for_any", TEXT_TENSORS.replace("[ -1 ]", "[ sequence ]"), "PARSE"),
            ("none_for_any", TEXT_TENSORS.replace("[ -1 ]", "[ None ]"), "PARSE"),
            ("threads", TEXT_TENSORS + 'parameters { key: "intra_op_thread_count" value: { string_value: "2" } }', ""),
        ],
    ),
    *cases(
        "tokenizer",
        'backend: "python"\n',
        [
            (
                "text",
                """max_batch_size: 8 input [ { name: "TEXT" data_type: TYPE_STRING dims: [ -1 ] } ]
output [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] } ] instance_group [ { kind: KIND_CPU } ]""",
                "",
            ),
            (
                "environment",
                """input { name: "TEXT" data_type: TYPE_STRING dims: 1 }
output { name: "o" data_type: TYPE_STRING dims: 1 }
parameters: { key: "EXECUTION_ENV_PATH", value: { string_value: "$$TRITON_MODEL_DIRECTORY/env.tar.gz" } }""",
                "",
            ),
            (
                "stream",
                """input { name: "TEXT" data_type: TYPE_STRING dims: 1 }
output { name: "o" data_type: TYPE_STRING dims: 1 }
model_transaction_policy { decoupled: True } instance_group [ { count: 4 kind: KIND_CPU } ]""",
                "",
            ),
        ],
    ),
    *cases(
        "llm",
        "",
        [
            ("vllm", 'backend: "vllm"\ninstance_group [ { count: 1 kind: KIND_MODEL } ]', ""),
            ("vllm_policy", 'backend: "vllm" model_transaction_policy { decoupled: True }', ""),
            (
                "tensorrtllm",
                """backend: "tensorrtllm" max_batch_size: 64
model_transaction_policy { decoupled: false } dynamic_batching { preferred_batch_size: [ 64 ] }
input [ { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true optional: true },
{ name: "input_lengths" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } },
{ name: "prompt_table_extra_ids" data_type: TYPE_UINT64 dims: [ -1 ] allow_ragged_batch: true optional: true } ]
output [ { name: "output_ids" data_type: TYPE_INT32 dims: [ -1, -1 ] } ]
instance_group [ { count: 1 kind : KIND_CPU } ]
parameters: { key: "gpt_model_type" value: { string_value: "inflight_fused_batching" } }""",
                "",
            ),
            (
                "template",
                """backend: "tensorrtllm" max_batch_size: ${triton_max_batch_size}
input [ { name: "a" data_type: TYPE_INT32 dims: [ 1 ] } ] output [ { name: "b" data_type: TYPE_INT32 dims: [ 1 ] } ]""",
                "PARSE",
            ),
            (
                "template_in_a_string",
                """backend: "python" max_batch_size: 4 input [ { name: "a" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "b" data_type: TYPE_INT32 dims: [ 1 ] } ]
parameters { key: "tokenizer_dir" value: { string_value: "${tokenizer_dir}" } }""",
                "",
            ),
            (
                "unbatched_scalar",
                """backend: "tensorrtllm"
input [ { name: "input_lengths" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } } ]
output [ { name: "output_ids" data_type: TYPE_INT32 dims: [ -1 ] } ]""",
                "RESHAPE",
            ),
        ],
    ),
]

START_END = """
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
  ]
"""
ONE = """input [ { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
"""
# The server's own examples and tests: one value a line, and lists of one element.
NVIDIA = [
    Case(
        "densenet",
        """name: "densenet"
platform: "onnxruntime_onnx"
max_batch_size : 0
input [ { name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] } } ]
output [ { name: "fc6_1" data_type: TYPE_FP32 dims: [ 1000 ] reshape { shape: [ 1, 1000, 1, 1 ] }
    label_filename: "labels.txt" } ]""",
        {"labels.txt": "TENCH\nGOLDFISH\n"},
    ),
    *cases(
        "example",
        'platform: "onnxruntime_onnx"\nmax_batch_size: 8\n',
        [
            (
                "sequence",
                f"sequence_batching {{ max_sequence_idle_microseconds: 5000000 direct {{ }} {START_END} }} {ONE}",
                "",
            ),
            (
                "dyna_sequence",
                "sequence_batching { oldest { max_candidate_sequences: 1024 max_queue_delay_microseconds: 500 } "
                f"{START_END} }} {ONE}",
                "",
            ),
            (
                "both_strategies",
                f"sequence_batching {{ direct {{ }} oldest {{ }} {START_END} }} {ONE}",
                "PARSE",
            ),
            ("old_policy", f"version_policy : {{ latest {{ num_versions : 1 }}}} {ONE}", ""),
            ("old_instances", f"instance_group [ {{ kind: KIND_GPU count: 2 gpus: [ 0, 1 ] }} ] {ONE}", "IG-GPU"),
            (
                "state",
                f"sequence_batching {{ direct {{ }} {START_END} state [ {{ input_name: 'INPUT_STATE' "
                "output_name: 'OUTPUT_STATE' data_type: TYPE_INT32 dims: [ -1 ] initial_state: { data_type: TYPE_INT32 "
                f"dims: [ 1 ] zero_data: true name: 'initial state' }} }} ] }} {ONE}",
                "",
            ),
        ],
    ),
    *cases(
        "qa",
        "",
        [
            (
                "custom_delay",
                f"""backend: "identity" max_batch_size: 0 {ONE} instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters [ {{ key: "execute_delay_ms" value: {{ string_value: "1000" }} }} ]""",
                "",
            ),
            ("repeat", f'backend: "repeat" model_transaction_policy {{ decoupled: True }} {ONE}', ""),
            ("cache_on", f'backend: "identity" response_cache {{ enable: true }} {ONE}', ""),
            ("no_delimiter", f"{ONE}", "AUTOFILL"),
            ("unknown_backend.unknown", "", "BACKEND"),
            ("old_custom_platform", f'platform: "custom" {ONE}', "PLAT"),
            ("caffe", f'platform: "caffe2_netdef" {ONE}', "PLAT"),
            (
                "dali",
                """backend: "dali" max_batch_size: 256 input [ { name: "DALI_INPUT_0" data_type: TYPE_UINT8 dims: [ -1 ]
allow_ragged_batch: true } ] output [ { name: "DALI_OUTPUT_0" data_type: TYPE_FP32 dims: [ 299, 299, 3 ] } ]
parameters: [ { key: "num_threads" value: { string_value: "12" } } ]""",
                "",
            ),
            (
                "fil",
                """backend: "fil" max_batch_size: 32768
input [ { name: "input__0" data_type: TYPE_FP32 dims: [ 32 ] } ]
output [ { name: "output__0" data_type: TYPE_FP32 dims: [ 1 ] } ] instance_group [{ kind: KIND_AUTO }]
parameters [ { key: "model_type" value: { string_value: "xgboost_json" } },
{ key: "output_class" value: { string_value: "false" } } ] dynamic_batching {}""",
                "",
            ),
            (
                "ragged",
                """backend: "onnxruntime" max_batch_size: 16
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]
batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "INDEX" data_type: TYPE_FP32
source_input: "INPUT0" } ]
dynamic_batching { max_queue_delay_microseconds: 1000000 }""",
                "",
            ),
            (
                "deepstream",
                """platform: "tensorflow_graphdef" default_model_filename: "frozen.pb" max_batch_size: 128
input [ { name: "image_tensor" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: [ 256,256, 3 ] } ]
output [ { name: "num" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [] } } ]
optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt"
parameters { key: "precision_mode" value: "FP16" }}] }}""",
                "",
            ),
        ],
    ),
]

CASES = [*ULTRALYTICS, *NAVIGATOR, *MERLIN, *HUGGING_FACE, *NVIDIA]
