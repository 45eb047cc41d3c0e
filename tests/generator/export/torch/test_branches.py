"""Values of the inputs that Python reads while a model is recorded: noticed, refused, compiled, or declared."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from modelrepo.generator.export.torch.branches import noticed
from tests.conftest import QUICK_EXPORT, Generate, assert_refused

HEAD = "from typing import Annotated\n\nimport torch\nfrom torch import nn\n\n\n"
FOOT = '\n\ndef make() -> Annotated[nn.Module, "x=1x4"]:\n    return Net()\n'
NET = "class Net(nn.Module):\n    def forward(self, x):\n"
GUARD = f"""class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x > 100).any()):
            x = x / 255
        return x * 2
{FOOT}"""
# TorchScript can't compile a set.
CHOICE = f"{NET}        {{1}}\n        if x.sum() > 1e6:\n            x = x + 1\n        return x * 2\n{FOOT}"


class Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.call = call
        self.register_buffer("kept", torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.call(self, x)


def written(own: Any, x: Any) -> Any:
    made = torch.zeros(3)
    made[:2].add_(x.sum())
    return x if made.max() > 0 else -x


def kept(own: Any, x: Any) -> Any:
    made = torch.zeros(3)
    made[0] = own.kept.sum()
    return x if made.max() > 0 else -x


READ: dict[str, Callable[[Any, Any], Any]] = {
    "bool": lambda own, x: x if x.sum() > 0 else -x,
    "item": lambda own, x: x * x.max().item(),
    "int": lambda own, x: x * int(x[0, 0]),
    "index": lambda own, x: x * sum(1 for _ in range(x.argmax())),
    "list": lambda own, x: x * sum(x[0].tolist()),
    "numpy": lambda own, x: x * float(np.max(x.numpy())),
    "contains": lambda own, x: x if 3.0 in x else -x,
    "equal": lambda own, x: x if torch.equal(x, x.abs()) else -x,
    "largest": lambda own, x: x * max(x[0, 0], x[0, 1]),
    "tensor of a list": lambda own, x: x * torch.tensor([x.max(), 1, 2, 3]),
    "data": lambda own, x: x * x.data.max(),
    "length": lambda own, x: x if len(torch.nonzero(x > 0)) > 2 else -x,
    "loop over a selection": lambda own, x: torch.stack([each * 2 for each in x[x > 0]]),
    "written to a view": written,
}
NOT_READ: dict[str, Callable[[Any, Any], Any]] = {
    "size": lambda own, x: x if x.shape[0] > 1 else -x,
    "size of a part": lambda own, x: x * x[:, :2].reshape(-1).shape[0],
    "zeros": lambda own, x: x if torch.zeros_like(x).sum() > 0 else -x,
    "constant": lambda own, x: x if own.kept.sum() > 0 else -x,
    "constant written": kept,
    "rows": lambda own, x: torch.stack([each * 2 for each in x]),
    "selection": lambda own, x: x[x > 0].sum(),
    "slice": lambda own, x: x[:, : x.argmax()],
}  # fmt: skip


def places(call: Callable[[Any, Any], Any]) -> int:
    with warnings.catch_warnings(), noticed(1) as read:
        warnings.simplefilter("ignore")
        torch.jit.trace(Model(call), (torch.rand(2, 4) + 1,), check_trace=False)
    return len(read.values)


@pytest.mark.parametrize("kind", READ)
def test_values_that_python_reads_are_noticed(kind: str) -> None:
    assert places(READ[kind]) == 1


@pytest.mark.parametrize("kind", NOT_READ)
def test_sizes_and_constants_are_not_values(kind: str) -> None:
    assert places(NOT_READ[kind]) == 0


def test_a_check_is_no_branch(generate: Generate, workdir: Path) -> None:
    code = "        if x.isnan().any():\n            raise ValueError\n        assert x.sum() < 1e30\n        {1}\n"
    (workdir / "net.py").write_text(f"{HEAD}{NET}{code}        return x * 2\n{FOOT}")
    outcome = generate("--model", "python:net:make", *QUICK_EXPORT, "--quiet")
    assert outcome.code == 0, outcome.err


def test_a_branch_on_values_is_compiled_with_both_sides(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(HEAD + GUARD)
    outcome = generate("--model", "python:net:make", "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    session = onnxruntime.InferenceSession("model_repository/make/1/model.onnx")
    for value, answer in ((200, 400 / 255), (1, 2)):
        found = session.run(None, {"x": np.full((1, 4), value, np.float32)})[0]
        np.testing.assert_allclose(found, np.full((1, 4), answer), rtol=1e-6)


def test_a_branch_that_cannot_be_compiled_is_refused_with_its_line(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(HEAD + CHOICE)
    outcome = generate("--model", "python:net:make", "--quiet")
    assert_refused(outcome, 4, "depends on the values of a tensor (net.py, line 10: if x.sum() > 1e6:)")
    assert "--assume-branch net.py:10=false" in outcome.err


def test_an_error_of_torch_export_that_the_model_swallows_is_no_answer(generate: Generate, workdir: Path) -> None:
    body = "try:\n            return x * 2 if x.sum() > -1e9 else x\n        except Exception:\n            return x\n"
    (workdir / "net.py").write_text(f"{HEAD}{NET}        {body}{FOOT}")
    outcome = generate("--model", "python:net:make", "--quiet")
    assert_refused(outcome, 4, "--assume-branch net.py:10=true")


def test_an_assumed_branch_is_recorded_and_noted(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(HEAD + CHOICE)
    outcome = generate("--model", "python:net:make", "--assume-branch", "net.py:10=false", "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert "assumed to be the same for every input, as declared: net.py:10=false" in outcome.result["notes"]


@pytest.mark.parametrize(
    ("assumed", "code", "message"),
    [
        ("net.py:10=true", 2, "the example takes the other side"),
        ("net.py:12", 2, "no value of a tensor becomes Python's there"),
        ("net.py:ten", 2, "expected FILE:LINE=true, FILE:LINE=false or FILE:LINE"),
    ],
)
def test_an_assumption_that_is_not_true_is_refused(
    generate: Generate, workdir: Path, assumed: str, code: int, message: str
) -> None:
    (workdir / "net.py").write_text(HEAD + CHOICE)
    outcome = generate("--model", "python:net:make", "--assume-branch", assumed, "--quiet")
    assert outcome.code == code, outcome.err
    assert message in outcome.err


def test_inputs_outside_of_an_assumption_are_not_compared(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(f"{HEAD}{NET}        {{1}}\n        return x * x.max().item()\n{FOOT}")
    outcome = generate("--model", "python:net:make", "--assume-branch", "net.py:10", "--quiet")
    assert "--assume-branch net.py:10 does not hold for it" in outcome.err


def test_a_size_that_decides_how_many_outputs_there_are_is_fixed(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(f"{HEAD}{NET}        return [row * 2 for row in x]\n{FOOT}")
    outcome = generate("--model", "python:net:make", *QUICK_EXPORT, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert "batch is fixed at 1: the model answers 1 tensors then, and 2 if it is 2" in outcome.result["notes"]
