"""Examples of the rules' pages: lines of a configuration that break a rule, and what to write instead.

They are the lines that matter. Tests complete them and ask the rules; what the core decides is also a case of
`tests/differential`, where the real server judges both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """Lines that break a rule, and lines that don't."""

    wrong: str
    right: str


def _of(wrong: str, right: str) -> Example:
    return Example(wrong.strip("\n"), right.strip("\n"))


def _swapped(text: str, wrong: str, right: str) -> Example:
    """Return an example whose sides differ in one place, which the text calls HERE."""
    return _of(text.replace("HERE", wrong), text.replace("HERE", right))


CONTROL = """
max_batch_size: 8
sequence_batching {
  control_input {
    HERE
  }
}
"""
WARM_UP = """
max_batch_size: 8
model_warmup {
  name: "first"
  batch_size: HERE
  inputs {
    key: "x"
    value { data_type: TYPE_FP32, dims: [ 4 ], zero_data: true }
  }
}
"""
# Beside a model "scale" with max_batch_size: 8, the input x and the output y, both FP32 [ 4 ].
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
ensemble_scheduling {
  step {
    model_name: "scale"
    model_version: -1
    input_map { key: "x", value: "x" }
    output_map { key: "y", value: "y" }
  }
}
"""
OF_ENSEMBLE = "# the model scale: max_batch_size: 8, input x, output y\n"
# Of a model.onnx with the input x, FP32 [-1, 3], and the output y, FP32 [-1, 1].
ONNX = """
backend: "onnxruntime"
max_batch_size: 8
input { name: "x", data_type: TYPE_FP32, dims: [ 3 ] }
output { name: "y", data_type: TYPE_FP32, dims: [ 1 ] }
"""
PLATFORMS = ('"onnxruntime"', '"onnxruntime_onnx"')
OF_ONNX = "# model.onnx: input x, FP32 [-1, 3]; output y, FP32 [-1, 1]\n"


def _ensemble(right: str, wrong: str) -> Example:
    text = OF_ENSEMBLE + ENSEMBLE.strip("\n")
    return _of(text.replace(right, wrong, 1), text)


def _layout(wrong: str, right: str) -> Example:
    return _swapped("net/config.pbtxt\nnet/HERE", wrong, right)


def _onnx(right: str, wrong: str, more: str = "") -> Example:
    text = OF_ONNX + ONNX.strip("\n") + more
    return _of(text.replace(right, wrong, 1), text)


EXAMPLES: Mapping[str, Example] = {
    "PARSE": _swapped("input { name: HERE, data_type: TYPE_FP32, dims: [ 4 ] }", "x", '"x"'),
    "IO": _swapped('input { name: "x", HEREdims: [ 4 ] }', "", "data_type: TYPE_FP32, "),
    "DIM": _swapped('input { name: "x", data_type: TYPE_FP32, dims: [ 3, HERE ] }', "0", "-1"),
    "RESHAPE": _swapped(
        """
max_batch_size: 8
input {
  name: "x", data_type: TYPE_FP32, dims: [ 12 ]
  reshape { shape: [ HERE ] }
}
""",
        "3, 3",
        "3, 4",
    ),
    "FORMAT": _swapped(
        """
input {
  name: "x", data_type: TYPE_FP32, dims: [ HERE ]
  format: FORMAT_NCHW
}
""",
        "224, 224",
        "3, 224, 224",
    ),
    "SHAPE-T": _of(
        'input { name: "x", data_type: TYPE_INT32, dims: [ 1 ], is_shape_tensor: true }',
        'input { name: "x", data_type: TYPE_INT32, dims: [ 1 ] }',
    ),
    "NON-LINEAR": _of(
        """
input {
  name: "x", data_type: TYPE_FP32, dims: [ 4 ]
  is_non_linear_format_io: true
}
""",
        'input { name: "x", data_type: TYPE_FP32, dims: [ 4 ] }',
    ),
    "BATCHIO": _swapped(
        """
max_batch_size: 8
batch_input {
  kind: BATCH_ELEMENT_COUNT
  target_name: "count"
  data_type: TYPE_INT32
HERE}
""",
        "",
        '  source_input: [ "x" ]\n',
    ),
    "PLAT": _swapped(OF_ONNX + ONNX.replace('backend: "onnxruntime"', "platform: HERE").strip(), *PLATFORMS),
    "DUP-IO": _swapped(
        """
input [
  { name: "x", data_type: TYPE_FP32, dims: [ 4 ] },
  { name: "HERE", data_type: TYPE_FP32, dims: [ 4 ] }
]
""",
        "x",
        "z",
    ),
    "METRIC-TAG": _swapped('metric_tags { key: "HERE", value: "vision" }', "my-team", "team"),
    "NAME": _of('name: "another"', 'name: "net"  # as the folder is called'),
    "MBS-NEG": _swapped("max_batch_size: HERE", "-1", "8"),
    "IG-GPU": _swapped("instance_group { kind: HERE }  # on a host without a GPU", "KIND_GPU", "KIND_CPU"),
    "IG-CPU": _of("instance_group { kind: KIND_CPU, gpus: [ 0 ] }", "instance_group { kind: KIND_CPU }"),
    "IG-COUNT": _swapped("instance_group { kind: KIND_CPU, count: HERE }", "-1", "2"),
    "PROFILE": _of('instance_group { kind: KIND_CPU, profile: [ "0" ] }', "instance_group { kind: KIND_CPU }"),
    "VP": _swapped("version_policy { latest { HERE } }", "", "num_versions: 1"),
    "VP-MISS": _swapped("version_policy { specific { versions: [ HERE ] } }  # version 1 is there", "1, 3", "1"),
    "CACHE": _of("response_cache { enable: true }\nsequence_batching { }", "sequence_batching { }"),
    "AGENT-NONE": _of("model_repository_agents { }", "# no model_repository_agents"),
    "DYN-PREF": _swapped("max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ HERE ] }", "4, 16", "4, 8"),
    "DYN-MBS0": _swapped("max_batch_size: HERE\ndynamic_batching { }", "0", "8"),
    "PRIO": _swapped(
        "max_batch_size: 8\ndynamic_batching { priority_levels: 3HERE }", "", ", default_priority_level: 2"
    ),
    "PRIO-OFF": _swapped(
        """
max_batch_size: 8
dynamic_batching {
HERE  priority_queue_policy {
    key: 1
    value { max_queue_size: 16 }
  }
}
""",
        "",
        "  priority_levels: 2\n  default_priority_level: 1\n",
    ),
    "PRIO-ORDER": _swapped(
        """
max_batch_size: 8
dynamic_batching {HERE
  priority_levels: 2
  default_priority_level: 1
}
""",
        "\n  preserve_ordering: true",
        "",
    ),
    "SEQ": _swapped(
        CONTROL,
        "control { kind: CONTROL_SEQUENCE_START, int32_false_true: [ 0, 1 ] }",
        'name: "START"\n    control { kind: CONTROL_SEQUENCE_START, int32_false_true: [ 0, 1 ] }',
    ),
    "SEQ-VALUES": _swapped(
        CONTROL,
        'name: "START"\n    control { kind: CONTROL_SEQUENCE_START, int32_false_true: [ 1 ] }',
        'name: "START"\n    control { kind: CONTROL_SEQUENCE_START, int32_false_true: [ 0, 1 ] }',
    ),
    "SEQ-CORRID": _swapped(
        CONTROL,
        'name: "ID"\n    control { kind: CONTROL_SEQUENCE_CORRID, data_type: TYPE_FP32 }',
        'name: "ID"\n    control { kind: CONTROL_SEQUENCE_CORRID, data_type: TYPE_UINT64 }',
    ),
    "SEQ-KIND": _swapped(
        """
max_batch_size: 8
sequence_batching {
  control_input {
    name: "START"
    control { kind: CONTROL_SEQUENCE_START, int32_false_true: [ 0, 1 ] }
  }
  control_input {
    name: "END"
    control { kind: HERE, int32_false_true: [ 0, 1 ] }
  }
}
""",
        "CONTROL_SEQUENCE_START",
        "CONTROL_SEQUENCE_END",
    ),
    "SEQ-OLDEST": _swapped(
        """
max_batch_size: 8
sequence_batching {
  oldest { max_candidate_sequences: 64, preferred_batch_size: [ HERE ] }
}
""",
        "16",
        "8",
    ),
    "SEQ-DIRECT": _swapped(
        "max_batch_size: 8\nsequence_batching { direct { minimum_slot_utilization: HERE } }", "50", "0.5"
    ),
    "WARM": _swapped(WARM_UP.replace("HERE", "1").replace(", zero_data: true", "HERE"), "", ", zero_data: true"),
    "WARM-INPUT": _of(
        'model_warmup { name: "first", batch_size: 1 }',
        """
model_warmup {
  name: "first"
  batch_size: 1
  inputs {
    key: "x"
    value { data_type: TYPE_FP32, dims: [ 4 ], zero_data: true }
  }
}
""",
    ),
    "WARM0": _swapped(WARM_UP.replace("  batch_size: HERE\n", "HERE"), "", "  batch_size: 1\n"),
    "WARM-BS": _swapped('backend: "python"' + WARM_UP, "16", "8"),
    "LABEL": _of(
        """
output {
  name: "y", data_type: TYPE_FP32, dims: [ 4 ]
  label_filename: "no_such.txt"
}
""",
        'output { name: "y", data_type: TYPE_FP32, dims: [ 4 ] }',
    ),
    "LABEL-DUP": _swapped(
        """
output {
  name: "y", data_type: TYPE_FP32, dims: [ 4 ]
  label_filename: "labels.txt"
}
output {
  name: "HERE", data_type: TYPE_FP32, dims: [ 4 ]
  label_filename: "labels.txt"
}
""",
        "y",
        "z",
    ),
    "ENS": _ensemble('platform: "ensemble"', 'platform: "ensemble"\ninstance_group { kind: KIND_CPU }'),
    "ENS-STEP": _ensemble('    output_map { key: "y", value: "y" }\n', ""),
    "ENS-FLOW": _ensemble('value: "y"', 'value: "z"'),
    "ENS-MODEL": _ensemble('"scale"', '"scales"'),
    "ENS-VER": _ensemble("    model_version: -1\n", ""),
    "ENS-MBS": _ensemble("\nmax_batch_size: 8", "\nmax_batch_size: 16"),
    "ENS-MAP": _ensemble('key: "x"', 'key: "input"'),
    "VDIR-NONE": _layout("model.onnx", "1/model.onnx"),
    "VDIR-NEG": _layout("-1/model.onnx", "1/model.onnx"),
    "VDIR-BIG": _layout("20261130000000000000/model.onnx", "1/model.onnx"),
    "VDIR-NAME": _layout("2.tmp/model.onnx", "2/model.onnx"),
    "VDIR-0": _layout("1/model.onnx\nnet/02/model.onnx", "1/model.onnx\nnet/2/model.onnx"),
    "VDIR-EMPTY": _layout("1/resnet.onnx", "1/model.onnx"),
    "ORT-DIM": _onnx("dims: [ 3 ]", "dims: [ 4 ]"),
    "ORT-NAME": _onnx('"x"', '"input"'),
    "ORT-TYPE": _onnx("TYPE_FP32", "TYPE_FP16"),
    "ORT-CNT": _onnx("dims: [ 3 ] }", 'dims: [ 3 ] }\ninput { name: "z", data_type: TYPE_FP32, dims: [ 3 ] }'),
    "ORT-PARAM": _onnx('"4"', '"four"', '\nparameters { key: "intra_op_thread_count", value { string_value: "4" } }'),
    "DYNAMO-VP": _swapped("version_policy { HERE }", "all { }", "latest { num_versions: 1 }"),
    "DYNAMO-TYPE": _swapped('input { name: "x", data_type: HERE, dims: [ 4 ] }', "TYPE_FP16", "TYPE_FP32"),
    "DYNAMO-SEQ": _of("max_batch_size: 8\nsequence_batching { }", "max_batch_size: 8\ndynamic_batching { }"),
}
