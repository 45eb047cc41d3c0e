"""A script that an engineer writes by hand, to measure `generate` against: export, check, compare, configure.

python benchmarks/plain_script.py FOLDER [--parity]
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision

CONFIG = """name: "resnet50"
backend: "onnxruntime"
max_batch_size: 16
input { name: "input" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] }
output { name: "output" data_type: TYPE_FP32 dims: [ 1000 ] }
dynamic_batching { }
"""

folder = Path(sys.argv[1]) / "resnet50"
(folder / "1").mkdir(parents=True)
path = str(folder / "1" / "model.onnx")

torch.manual_seed(0)
model = torchvision.models.resnet50(weights=None).eval()
torch.onnx.export(
    model,
    (torch.randn(2, 3, 224, 224),),
    path,
    dynamo=True,
    input_names=["input"],
    output_names=["output"],
    dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
    external_data=False,
)
onnx.checker.check_model(path)
if "--parity" in sys.argv:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3, 16):
        images = torch.randn(batch, 3, 224, 224)
        with torch.inference_mode():
            wanted = model(images).numpy()
        (got,) = session.run(None, {"input": images.numpy()})
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
(folder / "config.pbtxt").write_text(CONFIG)
