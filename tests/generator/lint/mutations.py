"""Broken configurations and model files, made at random from right ones."""

import random
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper

CONFIGS = (
    """name: "net" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, 224 ] reshape { shape: [ 3, 1 ] } } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 1000 ], label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 1 ] profile: [ "0" ] } ]
version_policy { specific { versions: [ 1, 2 ] } }
dynamic_batching { preferred_batch_size: [ 4, 8 ] priority_levels: 2 default_priority_level: 1
  priority_queue_policy { key: 1 value: { timeout_action: REJECT max_queue_size: 3 } } }
optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt"
  parameters { key: "precision_mode" value: "FP16" } } ] } }
parameters { key: "intra_op_thread_count" value: { string_value: "4" } }
model_warmup [ { name: "w" batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 dims: [ 3, 224, 224 ]
  random_data: true } } } ]  # a comment
""",
    """name: 'ens'\r
platform: "ensemble"\r
max_batch_size: 4\r
input [ { name: "a" data_type: TYPE_STRING dims: [ -1 ] } ]\r
output [ { name: "b" data_type: TYPE_INT64 dims: [ 1 ] } ]\r
ensemble_scheduling { step [ { model_name: "net" model_version: -1 input_map { key: "x" value: "a" }\r
  output_map { key: "y" value: "t" } }, { model_name: "net0" input_map { key: "x" value: "t" }\r
  output_map { key: "y" value: "b" } } ] }\r
""",
    """sequence_batching { max_sequence_idle_microseconds: 5000000 oldest { max_candidate_sequences: 4 }
control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
 { name: "C" control < kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 > } ]
state [ { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 1 ]
  initial_state: { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true name: "i" } } ] }
backend: "python" batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 source_input: "x" } ]
response_cache { enable: true } model_transaction_policy { decoupled: true } default_model_filename: "m.py"
""",
)
BITS = (b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"-", b"0", b"-1", b"99999999999999999999", b"1e400", b"nan",
        b"\\", b"\\x", b"\\400", b"\0", b"\xff", b"\xef\xbb\xbf", b"#", b"\n", b"\r", b"<", b">", b"/",
        b"..", b"TYPE_INVALID", b"9223372036854775807", b"\xc3\xa4", b"name:", b"dims: [ 0 ]",
        b"ensemble_scheduling {", b"[type/x] {")  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few small faults."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.choice((1, 1, 3, 20, 200)))
        match chance.randrange(6):
            case 0:
                content = content[:at]
            case 1:
                content = content[:at] + content[end:]
            case 2:
                content = content[:end] + content[at:]
            case 3:
                content = content[:at] + chance.choice(BITS) + content[at:]
            case 4:
                content = content[:at] + chance.choice(BITS) + content[end:]
            case _:
                content = content[:at] + chance.randbytes(end - at) + content[end:]
    return content


def write(root: Path, count: int, seed: int) -> None:
    """Write a repository of models with faults."""
    chance = random.Random(seed)
    for number, (text, model) in zip(range(count), _pairs(), strict=False):
        folder = root / f"net{number}"
        (folder / "1").mkdir(parents=True)
        (folder / "2").mkdir()
        (folder / "config.pbtxt").write_bytes(
            mutated(text.encode(), chance) if chance.random() < 0.9 else text.encode()
        )
        file = chance.choice(("model.onnx", "model.plan", "model.pt", "model.xml", "model.pt2"))
        (folder / "1" / file).write_bytes(mutated(model, chance))
        (folder / "labels.txt").write_bytes(mutated(b"a\nb\n", chance))


def _pairs() -> Iterator[tuple[str, bytes]]:
    model = _model()
    while True:
        for text in CONFIGS:
            yield text, model


def _model() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, "H", 224])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y], [weight])
    return bytes(helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString())
