"""Pooling with ``ceil_mode`` has the size that ONNX Runtime answers, also in what it infers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch
from torch import nn

from modelrepo.generator.export.torch import pooling

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
LAYERS: dict[str, Any] = {
    "max 1d": lambda: nn.MaxPool1d(2, 2, 1, ceil_mode=True),
    "average": lambda: nn.AvgPool2d(2, 2, 1, ceil_mode=True),
    "average without padding": lambda: nn.AvgPool2d(2, (2, 3), (1, 0), ceil_mode=True, count_include_pad=False),
    "max, one axis with a part of a window": lambda: nn.MaxPool2d(2, (2, 3), (1, 0), ceil_mode=True),
    "max, parts of windows": lambda: nn.MaxPool2d(3, 3, ceil_mode=True),
    "max, dilated": lambda: nn.MaxPool2d(2, 2, 1, dilation=2, ceil_mode=True),
    "max 3d": lambda: nn.MaxPool3d(2, 2, 1, ceil_mode=True),
    "twice": lambda: nn.Sequential(nn.MaxPool2d(2, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 2, 1, ceil_mode=True)),
}


def exported(layer: Any, *, flat: bool) -> tuple[Any, Any, Any]:
    """Return a layer behind a convolution as a model of torch, its example, and what the older exporter writes."""
    rank = next(int(type(each).__name__[-2]) for each in layer.modules() if not isinstance(each, nn.Sequential))
    model = nn.Sequential(getattr(nn, f"Conv{rank}d")(2, 2, 1), layer)
    example = torch.randn(2, 2, *[5] * rank)
    if flat:
        model = nn.Sequential(model, nn.Flatten(), nn.Linear(model(example)[0].numel(), 3))
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(model.eval(), (example,), "pool.onnx", dynamo=False, opset_version=18, **names)
    return model, example, onnx_ir.load("pool.onnx")


def told_and_answered(path: str, example: Any) -> tuple[list[Any], Any]:
    session = onnxruntime.InferenceSession(path)
    return session.get_outputs()[0].shape[1:], session.run(None, {"x": example.numpy()})[0]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_onnx_runtime_infers_what_it_answers(layer: str, flat: bool, workdir: Path) -> None:
    model, example, written = exported(LAYERS[layer](), flat=flat)
    pooling.without_idle_windows(written)
    onnx_ir.save(written, "mended.onnx")
    told, answered = told_and_answered("mended.onnx", example)
    np.testing.assert_allclose(answered, model(example).detach(), atol=1e-5)
    assert told == list(answered.shape[1:])


def test_without_it_onnx_runtime_still_infers_a_window_too_many(workdir: Path) -> None:
    _, example, _ = exported(LAYERS["average"](), flat=False)
    told, answered = told_and_answered("pool.onnx", example)
    assert (told, answered.shape[1:]) == ([2, 4, 4], (2, 3, 3))
