"""The peak memory of `generate` as a multiple of the weights, for models that consist of little else.

python benchmarks/memory.py [NAME …]

The memory of the imports alone is subtracted, and Triton's processes are counted separately. Only the weights should be
held, so the batch is 1. For vgg16 a batch of 16 is measured too: its images take as much memory as half its weights.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pairs import machine

LOOK_SECONDS = 0.02
GENERATE = "import sys; from modelrepo.cli.entry import generate; sys.argv[0] = 'generate'; generate()"
SCRIPT = "import torch, torch.onnx, torch.export, onnxscript, onnxruntime, modelrepo.generator.pipeline.generate"
TORCH = f"{SCRIPT}, torchvision"
ONNX = "import onnx, onnxruntime, modelrepo.generator.pipeline.generate"
HF = f"{TORCH}, transformers"
# As `generate` imports Keras: after torch's compiler, if that is installed.
TOGETHER = "from modelrepo.generator.sources import tensorflow; tensorflow.keras()"
KERAS = f"{TOGETHER}; import tf2onnx, onnx_ir, onnxruntime, modelrepo.generator.pipeline.generate"


@dataclass(frozen=True)
class Model:
    """A model: its options of `generate`, its imports, and a function that makes its files in the current folder."""

    options: tuple[str, ...]
    imports: str
    make: Callable[[], Any] | None = None
    batch: int = 1


@dataclass(frozen=True)
class Peak:
    """The peak memory of a command in bytes: of its own process, and of all those that it started together."""

    own: int
    others: int


def main() -> None:
    """Measure each model, with the live check and without, and print the rows of a table."""
    print(f"{machine()}\n")
    print("| model | weights | live check | peak above imports | times the weights | Triton's processes |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in sys.argv[1:] or MODELS:
        model = MODELS[name]
        with tempfile.TemporaryDirectory(prefix="modelrepo-memory-") as folder:
            if model.make:
                program = f"import sys; sys.path[:0] = {sys.path!r}; import memory; memory.MODELS[{name!r}].make()"
                subprocess.run([sys.executable, "-c", program], cwd=folder, stdout=subprocess.DEVNULL, check=True)
            imports = peak(["-c", f"{model.imports}; import os; os._exit(0)"], Path(folder)).own  # to end takes more
            for live in ("off", "require"):
                options = [*model.options, "--max-batch-size", str(model.batch), "--live-check", live]
                target = ["--repository", f"models-{live}", "--client-dir", "none"]
                found = peak(["-c", GENERATE, *options, *target], Path(folder))
                weights = sum(file.stat().st_size for file in Path(folder).glob(f"models-{live}/*/1/*"))
                above = found.own - imports
                cells = (name, _mb(weights), live, _mb(above), f"{above / weights:.2f}", _mb(found.others))
                print(f"| {' | '.join(cells)} |", flush=True)


def peak(arguments: list[str], folder: Path) -> Peak:
    """Run Python in ``folder``, and return its peak memory; exit if it fails."""
    own = others = 0
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=log, stderr=log)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            own = max(own, _high_water(process.pid))
            others = max(others, sum(map(_resident, _children(watched))))
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        sys.exit(f"{arguments} exited with {process.returncode}:\n{(folder / 'log.txt').read_text()}")
    return Peak(own, others)


def _high_water(pid: int) -> int:
    """Return the peak of a process's resident memory in bytes; 0 for one that has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _mb(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


# The models.


def make_onnx() -> None:
    """Save 24 layers of 4096 x 2048 and back as ONNX, 0.8 GB of weights in the file."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, weights, size = [], [], (2048, 4096)
    for number in range(24):
        shape = size if number % 2 == 0 else size[::-1]
        values = random.standard_normal(shape, "float32") / np.float32(shape[0] ** 0.5)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [f"x{number}", f"w{number}"], [f"y{number}"]))
        nodes.append(helper.make_node("Tanh", [f"y{number}"], [f"x{number + 1}"]))
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2048]) for name in ("x0", "x24")]
    graph = helper.make_graph(nodes, "layers", declared[:1], declared[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), "layers.onnx")


def make_hf() -> None:
    """Save a BERT of the size of bert-base, 0.4 GB, as transformers does."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained("bert")


def make_keras() -> None:
    """Save Keras's VGG16, 0.55 GB."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.VGG16(weights=None).save("vgg16.keras")


def make_deep_keras() -> None:
    """Save Keras's ResNet152V2, 0.24 GB in 566 layers."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.ResNet152V2(weights=None).save("resnet.keras")


def make_saved() -> None:
    """Save Keras's VGG16 as a SavedModel, which has each of its weights twice."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.VGG16(weights=None).export("vgg16")


def make_state() -> None:
    """Save the weights of a ViT-L/16, 1.2 GB, as a state dict."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    torch.save(models.vit_l_16().state_dict(), "vit.pth")


def make_program() -> None:
    """Save a ViT-B/16 as an ExportedProgram, 0.35 GB."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    module, example = models.vit_b_16().eval(), torch.zeros(2, 3, 224, 224)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, "vit.pt2")


def make_script() -> None:
    """Save 24 layers of 2048 x 2048 as TorchScript, 0.4 GB."""
    import torch

    torch.manual_seed(0)
    layers = [layer for _ in range(24) for layer in (torch.nn.Linear(2048, 2048), torch.nn.Tanh())]
    torch.jit.trace(torch.nn.Sequential(*layers).eval(), torch.zeros(1, 2048)).save("layers.pt")


def make_lite() -> None:
    """Save 24 layers of 2048 x 2048 as TensorFlow Lite, 0.4 GB."""
    import keras
    import tensorflow

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(2048, activation="tanh") for _ in range(24)]
    model = keras.Sequential([keras.Input((2048,), batch_size=1), *layers])
    Path("layers.tflite").write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())


def make_fixed() -> None:
    """Save a ViT-B/16 as ONNX for a batch of 1, 0.35 GB."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    torch.onnx.export(models.vit_b_16().eval(), (torch.zeros(1, 3, 224, 224),), "fixed.onnx", dynamo=True)


RANDOM = ("--weights", "random")
MODELS = {
    "torchvision vgg16": Model(("--model", "vgg16", *RANDOM), TORCH),
    "torchvision vgg16, batch 16": Model(("--model", "vgg16", *RANDOM), TORCH, batch=16),
    "torchvision vit_l_16": Model(("--model", "vit_l_16", *RANDOM), TORCH),
    "torchvision vit_l_16, its weights in a file": Model(
        ("--model", "vit_l_16", "--weights", "vit.pth"), TORCH, make_state
    ),
    "an ExportedProgram": Model(("--model", "torch:vit.pt2"), TORCH, make_program),
    "an ONNX file": Model(("--model", "onnx:layers.onnx"), ONNX, make_onnx),
    "a Hugging Face folder": Model(("--model", "hf:./bert"), HF, make_hf),
    "a Keras file": Model(("--model", "keras:vgg16.keras"), KERAS, make_keras),
    "a Keras file of many layers": Model(("--model", "keras:resnet.keras"), KERAS, make_deep_keras),
    "a SavedModel": Model(("--model", "savedmodel:vgg16"), KERAS, make_saved),
    "a TorchScript file": Model(("--model", "torchscript:layers.pt", "--input-shape", "1x2048"), SCRIPT, make_script),
    "a TensorFlow Lite file": Model(("--model", "tflite:layers.tflite"), KERAS, make_lite),
    "a fixed batch made dynamic": Model(("--model", "onnx:fixed.onnx", "--make-batch-dynamic"), ONNX, make_fixed, 2),
}

if __name__ == "__main__":
    main()
