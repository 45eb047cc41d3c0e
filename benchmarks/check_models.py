"""The time that `modelrepo check` takes, and its memory, which must not grow with the number of models."""

import resource
import tempfile
import time
from pathlib import Path

from modelrepo.generator.lint import check

CONFIG = """name: "{name}"
backend: "onnxruntime"
max_batch_size: 8
input [
  {{
    name: "input"
    data_type: TYPE_FP32
    dims: [ 3, 224, 224 ]
  }}
]
output [
  {{
    name: "output"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    label_filename: "labels.txt"
  }}
]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }}
version_policy {{ specific {{ versions: [ 1 ] }} }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "2" }} }}
parameters {{ key: "inter_op_thread_count" value {{ string_value: "1" }} }}
"""
COUNTS = (100, 1_000, 4_000)


def main() -> None:
    """Print seconds and memory for repositories of several sizes."""
    print("| models | findings | s | s of CPU | peak memory, MB |\n|---|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), count)
            started, busy = time.perf_counter(), time.process_time()
            found = check(Path(folder))
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"| {count} | {len(found)} | {seconds:.2f} | {busy:.2f} | {peak} |")


def write(root: Path, count: int) -> None:
    """Write a repository of models with one small ONNX file."""
    model = model_bytes()
    for number in range(count):
        folder = root / f"net{number}"
        (folder / "1").mkdir(parents=True)
        (folder / "1/model.onnx").write_bytes(model)
        (folder / "labels.txt").write_text("".join(f"class {each}\n" for each in range(1000)))
        (folder / "config.pbtxt").write_text(CONFIG.format(name=folder.name))


def model_bytes() -> bytes:
    """Return an ONNX model that the configuration describes."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1000])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 1000], [0.0] * 3000)
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


if __name__ == "__main__":
    main()
