"""TensorRT without a GPU: what is prepared, and the command that finishes it. No plan was ever built here."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.backends import tensorrt
from generator.releases import RELEASES
from generator.specs import Deferred, Export, Order, Signature, TensorSpec


def order(batch: int, preferred: tuple[int, ...], *inputs: TensorSpec) -> Order:
    signature = Signature(inputs, (TensorSpec("y", "float32", ("batch", 3)),))
    export = Export(Path("/tmp/model.onnx"), (Path("/tmp/model.onnx"),), signature, "torch.export", 20, 10)
    return Order(export, batch, preferred, RELEASES["26.08"], Path("/srv/state/plans/m_tensorrt"))


IMAGE = TensorSpec("image", "float32", ("batch", 3, 224, 224))
IDS = TensorSpec("ids", "int64", ("batch", 128))
ORDERS = {
    "one-input": order(16, (8,), IMAGE),
    "two-inputs": order(4, (2,), IMAGE, IDS),
    "no-batching": order(0, (), IMAGE),
    "static": order(0, (), TensorSpec("image", "float32", (8, 3, 224, 224))),
}


def deferred(name: str) -> Deferred:
    built = tensorrt.build(ORDERS[name])
    assert isinstance(built, Deferred)
    return built


@pytest.mark.parametrize("name", ORDERS)
def test_the_command_is_as_agreed(golden: Callable[[str, str], None], name: str) -> None:
    golden(f"tensorrt/{name}.txt", deferred(name).command + "\n")


def test_the_command_runs_in_the_serving_image_without_network() -> None:
    words = shlex.split(deferred("one-input").command)
    assert words[:2] == ["docker", "run"]
    assert words[words.index("--network") + 1] == "none"
    assert "nvcr.io/nvidia/tritonserver:26.08-py3" in words
    assert "/srv/state/plans/m_tensorrt:/w" in words
    assert "--stronglyTyped" in words[-1]
    assert not {"--fp16", "--int8", "--best"} & set(words[-1].split())


def test_the_profile_spans_from_one_sample_to_the_largest_batch() -> None:
    flags = deferred("two-inputs").inputs["trtexec"]
    assert isinstance(flags, list)
    assert "--minShapes=image:1x3x224x224,ids:1x128" in flags
    assert "--optShapes=image:2x3x224x224,ids:2x128" in flags
    assert "--maxShapes=image:4x3x224x224,ids:4x128" in flags


def test_the_reason_tells_whether_a_gpu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu_present", lambda: False)
    assert "no CUDA device on this machine" in deferred("one-input").reason
    monkeypatch.setattr(tensorrt, "gpu_present", lambda: True)
    assert "no CUDA device" not in deferred("one-input").reason
