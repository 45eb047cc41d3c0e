"""Models of one CPU instance each for the benchmarks, and a backend that does nothing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pairs import BIN, run

from modelrepo.server.running import local

# Widths of perceptrons that take 0.04 ms and 1 to 2 ms in-process, on two cores.
SMALL, MIDDLE = (784, 256, 10), (784, 2048, 2048, 10)
LARGEST_BATCH = 32


def write_mlp(repository: Path, name: str, widths: tuple[int, ...], *, backend: str, batching: bool) -> None:
    """Write a perceptron with a ReLU after each layer, random weights, and its configuration."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    onnx.save(_mlp(widths), folder / "model.onnx")
    (folder.parent / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {LARGEST_BATCH}\n'
        f'input {{ name: "input" data_type: TYPE_FP32 dims: [ {widths[0]} ] }}\n'
        f'output {{ name: "output" data_type: TYPE_FP32 dims: [ {widths[-1]} ] }}\n'
        "instance_group { count: 1 kind: KIND_CPU }\n" + ("dynamic_batching { }\n" if batching else "")
    )


def write_resnet50(repository: Path) -> None:
    """Generate ResNet50 with the command, with random weights: its answers don't matter here."""
    command = [str(BIN / "generate"), "--model", "resnet50", "--backends", "onnx", "--weights", "random"]
    run([*command, "--no-verify", "--live-check", "off", "--repository", str(repository)], repository.parent)


@contextmanager
def nothing_backend(folder: Path) -> Iterator[None]:
    """Add a backend ``nothing`` to the backends of local servers; the product has no option for that."""
    own = local.BACKENDS_FOLDER
    # A server imports its backends from the package of the folder.
    backends = folder / "server" / "backends"
    shutil.copytree(own, backends)
    (backends.parent / "__init__.py").touch()
    (backends / "nothing").mkdir()
    shutil.copy(Path(__file__).with_name("nothing_backend.py"), backends / "nothing" / "model.py")
    local.BACKENDS_FOLDER = backends
    try:
        yield
    finally:
        local.BACKENDS_FOLDER = own


def _mlp(widths: tuple[int, ...]) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "input"
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        matrix = random.standard_normal((fan_in, fan_out), "float32") / np.float32(fan_in**0.5)
        weights.append(numpy_helper.from_array(matrix, f"W{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"W{layer}"], [f"sum{layer}"]))
        nodes.append(helper.make_node("Relu", [f"sum{layer}"], [f"hidden{layer}"]))
        last = f"hidden{layer}"
    nodes[-1].output[0] = "output"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", widths[0]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", widths[-1]])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
