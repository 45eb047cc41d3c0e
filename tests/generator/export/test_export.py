"""PyTorch models that are hard to export: each is exported by the first way that succeeds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export import torch as torch_export
from modelrepo.generator.export.description import describe, observed_dims
from modelrepo.generator.graphs import runtime
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.sources import pytorch
from modelrepo.generator.specs.artifacts import Export, Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from modelrepo.generator.system.quiet import quiet
from modelrepo.generator.verification.verify import verify
from tests import onnx_files

WEIGHTS = Weights("own", "", untrained=False)
X = TensorSpec("x", "float32", ("batch", 4))
STEPS = TensorSpec("x", "float32", ("batch", "steps", 8))
IMAGE = TensorSpec("x", "float32", ("batch", 3, 16, 16))
IDS = TensorSpec("x", "int64", ("batch", "steps"), Domain(0, 9))
MASK = TensorSpec("mask", "int64", ("batch", "steps"), Domain(0, 1, mask=True))
NEWER, OLDER = torch_export.NEWER, torch_export.OLDER


def function(call: Callable[..., Any]) -> Any:
    class Module(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return call(x)

    return Module()


def in_place(x: Any) -> Any:
    x += 1
    view = x[:, 1:3]
    view *= 3
    return x.relu_()


def spectrum(x: Any) -> Any:
    return torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True).abs()


def scattered(x: Any) -> Any:
    added = torch.zeros_like(x).scatter_add(1, (x > 0).long(), x)
    added[:, [0, 2]] = 1
    return {"added": added, "different": torch.unique(x.round()), "where": torch.nonzero(x < 100)}


class Branching(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return x + 1
        return x - 1


class BatchBranching(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 1:
            return x.sum(1)
        return x.sum(1) * 2


class Looping(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], 8)
        for step in range(x.shape[1]):
            state = torch.tanh(state + x[:, step])
        return state


class NestedLooping(nn.Module):  # type: ignore[misc]
    """Returns a tuple, which is flattened by code that TorchScript can't compile."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.zeros(x.shape[0], 8)
        for step in range(x.shape[1]):
            state = torch.tanh(state + x[:, step])
        return state, -state


class Recurrent(nn.Module):  # type: ignore[misc]
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer = kind(8, 5, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


class Masked(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, x: Any, mask: Any) -> Any:
        return self.layers(self.embedding(x), src_key_padding_mask=mask == 0) * mask.unsqueeze(-1)


class Deformed(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        from torchvision.ops import DeformConv2d

        super().__init__()
        self.offsets, self.layer = nn.Conv2d(3, 18, 3, padding=1), DeformConv2d(3, 5, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.layer(x, 0.1 * self.offsets(x))


class PartlyScripted(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        with quiet():  # TorchScript is deprecated
            self.part = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def forward(self, x: Any) -> Any:
        return self.part(x)


class Windowed(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> Any:
        assert bool((x.abs() < 1e9).all())
        steps = functional.pad(x, (0, 0, 1, 2))
        return {"last": steps.unfold(1, 3, 2).sum(-1), "first": steps.transpose(1, 2).unfold(-1, 2, 1).amax(-1)}


# A module, its inputs, the exporter that is to do it, and what is to be told about the way.
MODELS: dict[str, tuple[Callable[[], Any], tuple[TensorSpec, ...], str, str]] = {
    "in place": (lambda: function(in_place), (X,), NEWER, ""),
    "Fourier transform": (lambda: function(spectrum), (TensorSpec("x", "float32", ("batch", 64)),), NEWER, ""),
    "shapes by values": (lambda: function(scattered), (TensorSpec("x", "float32", (5, 4)),), NEWER, ""),
    "numpy": (lambda: function(lambda x: torch.from_numpy(x.numpy() * 2)), (X,), NEWER, ""),
    "cond": (
        lambda: function(lambda x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))),
        (X,),
        NEWER,
        "",
    ),
    "distances": (lambda: function(lambda x: torch.cdist(x, x + 1)), (STEPS,), OLDER, "cdist_forward has no ONNX"),
    "attention": (
        lambda: function(lambda x: functional.scaled_dot_product_attention(*3 * [x[:, None]])),
        (STEPS,),
        NEWER,
        "",
    ),
    "masks": (Masked, (IDS, MASK), NEWER, ""),
    "GRU": (lambda: Recurrent(nn.GRU), (STEPS,), NEWER, ""),
    "RNN": (lambda: Recurrent(nn.RNN), (STEPS,), OLDER, "gives axis 1 of input 'x' the size 7"),
    "embedding bag": (lambda: nn.EmbeddingBag(10, 4), (IDS,), NEWER, ""),
    "parametrized": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), (IMAGE,), NEWER, ""),
    "deformed": (Deformed, (IMAGE,), NEWER, ""),
    "branch on values": (Branching, (X,), OLDER, "compiled by TorchScript"),
    "branch on the batch": (BatchBranching, (X,), OLDER, "compiled by TorchScript"),
    "loop over a size": (Looping, (STEPS,), OLDER, "compiled by TorchScript"),
    "loop in what is flattened": (NestedLooping, (STEPS,), OLDER, "compiled by TorchScript"),
    "partly scripted": (PartlyScripted, (X,), OLDER, ""),
    "windows of a trace": (Windowed, (STEPS,), OLDER, "recorded as the model ran on an example"),
}


def source_of(module: Any, inputs: Sequence[TensorSpec], **more: Any) -> SourceModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return pytorch.source_model("a model", module.eval(), tuple(inputs), WEIGHTS, **more)


def exported(source: SourceModel, folder: Path, **chosen: Any) -> tuple[Export, Verification]:
    _, options = resolve(chosen, ConfigFile(), "torchvision:alexnet")
    export = torch_export.export(source, folder, options)
    found = verify(source.run, runtime.open_model(export.path), export.signature, max_batch_size=3, seed=0)
    return export, found


@pytest.mark.parametrize("name", MODELS)
def test_models_that_are_hard_to_export_are_exported(tmp_path: Path, name: str) -> None:
    make, inputs, exporter, told = MODELS[name]
    export, found = exported(source_of(make(), inputs), tmp_path / "onnx")
    assert found.passed
    assert (export.exporter, told in " ".join(export.notes)) == (exporter, True), export.notes
    assert bool(export.notes) == bool(told), export.notes


def test_an_output_whose_size_is_an_expression_keeps_its_batch(tmp_path: Path) -> None:
    export, found = exported(source_of(nn.EmbeddingBag(10, 4), (IDS,)), tmp_path / "onnx")
    assert export.signature.outputs[0].shape == ("batch", 4)
    assert found.batch_invariant


def test_an_output_has_the_sizes_that_the_server_infers(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx_files.model(outputs=[("y", onnx_files.FLOAT, ["batch", "any"])]), path)
    _, options = resolve({}, ConfigFile(), "onnx:model.onnx")
    found = describe(path, (path,), (X,), OLDER, options)
    assert [spec.shape for spec in found.signature.outputs] == [("batch", 4)]


def test_guessed_shapes_are_fixed_if_needed(tmp_path: Path) -> None:
    fixed = (TensorSpec("x", "float32", (1, 4)),)
    module = function(lambda x: x.reshape(1, 2, 2) + (x.sum(1) if len(x) > 1 else 0))
    export, found = exported(source_of(function(lambda x: module(x)), (X,), fixed=fixed), tmp_path / "onnx")
    assert [spec.shape for spec in export.signature.inputs] == [(1, 4)]
    assert found.passed


def test_a_decision_by_an_example_is_reported_with_its_line(tmp_path: Path) -> None:
    def call(x: Any) -> Any:
        assert bool((x.abs() < 1e9).all())
        return x * 2

    export, found = exported(source_of(function(call), (X,)), tmp_path / "onnx")
    assert found.passed
    assert any("recorded as the model ran on an example" in note and "1e9" in note for note in export.notes)


def test_a_failed_export_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = source_of(function(lambda x: torch.linalg.svd(x.reshape(-1, 2, 2))[1]), (X,))
    capfd.readouterr()
    with pytest.raises(ConversionError, match="linalg_svd has no ONNX translation"):
        exported(source, tmp_path / "onnx")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_prints_leaves_the_report_alone(capfd: pytest.CaptureFixture[str]) -> None:
    def call(x: Any) -> Any:
        print("here")
        return x

    source = source_of(function(call), (X,))
    source.run({"x": torch.ones(2, 4).numpy()})
    assert capfd.readouterr().out == ""


def test_an_output_whose_number_of_dimensions_depends_on_a_size_is_refused() -> None:
    import numpy as np

    with pytest.raises(ConversionError, match="output 'y' has 2 dimensions if batch is 2, and 1 if it is 3"):
        observed_dims(lambda arrays: {"y": np.zeros((2, 2) if len(arrays["x"]) == 2 else 3)}, (X,))
