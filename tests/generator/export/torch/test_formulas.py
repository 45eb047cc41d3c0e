"""Formulas that overflow or round away in torch's exporters answer as PyTorch does, by both exporters."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.torch import formulas, operators, small_constants, unmended

LINE = torch.tensor([0.0, -0.5, 1.5, 1e-8, -1e-8, 19, -19, 50, -50, 120, -120, 1e4, -1e4])
PAIRS = torch.tensor([[a, b] for a in (-7.0, -2.5, -1, 0, 1, 7, 1e4) for b in (-3.0, -0.7, 0.5, 2, 3)])
WHOLE = torch.tensor([[a, b] for a in (-7, -6, -1, 0, 1, 7, 2**40) for b in (-3, -2, 2, 3)])
NEAR = torch.tensor([[0, -1e-8], [-1e-8, 0], [1, 1.00001], [1e-45, 0], [3, 3.1], [torch.inf, torch.inf]])
LOGITS = torch.tensor([[1e4, -1e4, 3.0, -120], [19, -19, 0, 0.5]])
SHARES = torch.tensor([[0.5, 0.25, 1, 0], [0, 1, 0.5, 0.5]])
PARTS = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([2, -100])
Case = tuple[Callable[..., Any], tuple[Any, ...]]
BOTH: dict[str, Case] = {
    "log_sigmoid": (functional.logsigmoid, (LINE,)),
    "log1p": (torch.log1p, (LINE[LINE > -1],)),
    "expm1": (torch.expm1, (LINE,)),
    "atan2": (lambda x: torch.atan2(x[:, 0], x[:, 1]), (PAIRS,)),
    "floor of floats": (lambda x: x[:, 0] // x[:, 1], (PAIRS,)),
    "floor of whole numbers": (lambda x: x[:, 0] // x[:, 1], (WHOLE,)),
    "floor by a number": (lambda x: -(-x // 2), (WHOLE,)),
    "floor by a float": (lambda x: x // 2.5, (PAIRS,)),
    "remainder": (lambda x: x[:, 0] % x[:, 1], (PAIRS,)),
    "remainder of whole numbers": (lambda x: x[:, 0] % x[:, 1], (WHOLE,)),
    "truncated": (lambda x: torch.div(x, 3, rounding_mode="trunc"), (WHOLE,)),
    "remainder of a number": (lambda x: -5 % (x * 2 + 1), (WHOLE,)),
    "float remainder of a number": (lambda x: 5.0 % (x + 0.25), (PAIRS,)),
    "near": (lambda x: torch.isclose(x[:, 0], x[:, 1]), (NEAR,)),
    "rounded whole numbers": (lambda x: x.floor() + x.ceil() + x.trunc(), (WHOLE,)),
    "negative bytes": (lambda x: -x, (torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8),)),
    "hypotenuse": (lambda x: torch.hypot(x[:, 0] * 1e30, x[:, 1]), (PAIRS,)),
    "sign of another": (lambda x: torch.copysign(x[:, 0], x[:, 1]), (PAIRS,)),
    "sum of powers": (lambda x: torch.logaddexp(x[:, 0], x[:, 1]), (PAIRS,)),
    "almost zero": (lambda x: torch.log(x.abs() + 1e-10) * 1.000001, (LINE,)),
    "divided": (lambda x: x[:, 0] / x[:, 1], (WHOLE,)),
    "softplus": (lambda x: functional.softplus(x, beta=2.5, threshold=5), (torch.tensor([1.0, 2.5, -3]),)),
    "loss of logits": (
        lambda x, y: functional.binary_cross_entropy_with_logits(x, y, reduction="none"),
        (LOGITS, SHARES),
    ),
    "cosine": (lambda x: functional.cosine_similarity(x, x.roll(1, 0)), (LOGITS * torch.tensor([[1.0], [1e-10]]),)),
    "distance": (lambda x: functional.pairwise_distance(x, x.roll(1, 0), p=1), (SHARES,)),
    "mean of whole numbers": (lambda x: x.to(torch.int32).mean(-1, keepdim=True, dtype=torch.float32), (WHOLE,)),
    "mean": (lambda x: x.mean((0, -1)) + x.mean(-1), (PAIRS,)),
    "running sum of whole numbers": (lambda x: x.to(torch.int32).cumsum(-1), (WHOLE % 100,)),
    "running sum": (lambda x: x.cumsum(0, dtype=torch.float64) + (x > 0).cumsum(0), (PAIRS,)),
}
LINES = LINE.clamp(-20, 20)
OLDER: dict[str, Case] = {
    "fraction": (torch.frac, (PAIRS,)),
    "power of two": (torch.exp2, (LINES,)),
    "hyperbolic": (lambda x: x.sinh() + x.cosh() + x.asinh() + (x.abs() + 1).acosh() + (x / 30).atanh(), (LINES,)),
    "product with a logarithm": (lambda x: torch.xlogy(x, x.abs()), (LINE,)),
}
NEWER: dict[str, Case] = {
    "largest of uneven parts": (lambda x: functional.adaptive_max_pool2d(x, (3, 4)), (PARTS,)),
    "places of the largest": (
        lambda x: functional.adaptive_max_pool2d(x, (3, 4), return_indices=True)[1],
        (PARTS,),
    ),
    "largest of one row": (lambda x: functional.adaptive_max_pool1d(x[:, 0], 4), (PARTS,)),
    "mean of one number": (lambda x: x[0].mean(-1), (LINE,)),
    "signbit": (torch.signbit, (torch.tensor([0.0, -0.0, -1, 1]),)),
    "logaddexp2": (lambda x: torch.logaddexp2(x[:, 0], x[:, 1]), (PAIRS,)),
    "smoothed": (lambda x, y: functional.cross_entropy(x, y, label_smoothing=0.1), (SHARES, CLASSES)),
    "weighted": (
        lambda x, y: functional.cross_entropy(x, y, weight=torch.tensor([1.0, 2, 3, 4]), label_smoothing=0.1),
        (SHARES, CLASSES),
    ),
    "probabilities": (functional.cross_entropy, (LOGITS / 1e3, SHARES)),
}
# Without a mend the libraries are still wrong; once one of these fails, its row of the table can go.
WRONG_NEWER = (
    "almost zero",
    "near",
    "log_sigmoid",
    "log1p",
    "expm1",
    "atan2",
    "loss of logits",
    "smoothed",
    "signbit",
    "logaddexp2",
    "mean of whole numbers",
)
WRONG_OLDER = (
    *("log_sigmoid", "log1p", "floor of whole numbers", "atan2", "softplus", "loss of logits", "cosine"),
    "running sum of whole numbers",
)


class Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, *tensors: Any) -> Any:
        return self.call(*tensors)


@contextlib.contextmanager
def quietly() -> Any:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def newer(case: Case, path: Path, table: Any) -> None:
    call, tensors = case
    program = torch.export.export(Model(call), tensors)
    unmended.refuse(program)
    with small_constants.kept() if table is not None else contextlib.nullcontext():
        written = torch.onnx.export(
            program, dynamo=True, opset_version=20, verbose=False, custom_translation_table=table
        )
    written.save(path)


def older(case: Case, path: Path, *, mended: bool) -> None:
    call, tensors = case
    with operators.registered(20) if mended else contextlib.nullcontext():
        torch.onnx.export(Model(call), tensors, str(path), dynamo=False, opset_version=20)


def is_right(case: Case, path: Path) -> bool:
    call, tensors = case
    session = onnxruntime.InferenceSession(path)
    inputs = {each.name: tensor.numpy() for each, tensor in zip(session.get_inputs(), tensors, strict=True)}
    found, wanted = session.run(None, inputs)[0], call(*tensors).numpy()
    return found.dtype == wanted.dtype and bool(np.allclose(found, wanted, rtol=1e-5, atol=1e-12, equal_nan=True))


@pytest.mark.parametrize("name", [*BOTH, *NEWER])
def test_torch_export_answers_as_pytorch(tmp_path: Path, name: str) -> None:
    case = {**BOTH, **NEWER}[name]
    with quietly():
        newer(case, tmp_path / "model.onnx", formulas.translations())
    assert is_right(case, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", [*BOTH, *OLDER])
def test_torchscript_answers_as_pytorch(tmp_path: Path, name: str) -> None:
    case = {**BOTH, **OLDER}[name]
    with quietly():
        older(case, tmp_path / "model.onnx", mended=True)
    assert is_right(case, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", WRONG_NEWER)
def test_the_mends_of_torch_export_are_needed(tmp_path: Path, name: str) -> None:
    case = {**BOTH, **NEWER}[name]
    with quietly():
        newer(case, tmp_path / "model.onnx", None)
    assert not is_right(case, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", WRONG_OLDER)
def test_the_mends_of_torchscript_are_needed(tmp_path: Path, name: str) -> None:
    with quietly():
        older(BOTH[name], tmp_path / "model.onnx", mended=False)
    assert not is_right(BOTH[name], tmp_path / "model.onnx")


def test_a_mean_of_what_is_scattered_is_refused(tmp_path: Path) -> None:
    places = torch.tensor([[0, 0], [1, 1]])
    case: Case = (lambda x: torch.ones(2, 2).scatter_reduce(1, places, x, "mean"), (torch.rand(2, 2),))
    with quietly(), pytest.raises(ConversionError, match="scatter_reduce with reduce"):
        newer(case, tmp_path / "model.onnx", None)


def test_an_argument_that_is_lost_is_refused_by_both(tmp_path: Path) -> None:
    case: Case = (lambda x: functional.avg_pool2d(x, 2, divisor_override=3), (torch.rand(1, 1, 4, 4),))
    with quietly(), pytest.raises(ConversionError, match="divisor_override"):
        newer(case, tmp_path / "model.onnx", None)
    with quietly(), pytest.raises(ConversionError, match="divisor_override"):
        older(case, tmp_path / "model.onnx", mended=True)
