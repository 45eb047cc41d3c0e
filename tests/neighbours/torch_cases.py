"""PyTorch models whose Python reads values, or whose formulas and whole numbers exporters are known to get wrong."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour, Question

QUICK = {"exporter": "torchscript"}
READS = "what its Python does depends on the values of a tensor"
HEAD = """
from typing import Annotated
import math
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
"""
NUMBERS = np.array(
    [[0, -0.0, 1e-8, -1e-8], [0.5, -0.5, 1.5, -2.5], [1e4, -1e4, 3, 7], [88, -88, 19, -19], [1, 2, 3, 4]], np.float32
)
WHOLE = np.array([[-7, -6, -1], [0, 1, 2], [2**31 - 1, -(2**31), 255], [-128, 2**24 + 1, -(2**40)]], np.int64)
LINES = tuple(
    {"x": each} for each in (NUMBERS, NUMBERS[:1], NUMBERS[2:3], NUMBERS[4:], np.full((2, 4), -5, np.float32))
)
ROWS = tuple({"x": row[None]} for row in NUMBERS)
Inputs = Sequence[Mapping[str, Any]]


def row(name: str, body: str, inputs: Inputs = LINES, shapes: str = "x=1x4", setup: str = "", **more: Any) -> Neighbour:
    """Return the row of a module whose forward has this ``body``, and whose constructor has this ``setup``."""
    arguments = ", ".join(f"{each.partition('=')[0]}: torch.Tensor" for each in shapes.split(","))

    def lines(text: str) -> str:
        return "".join(f"        {line}\n" for line in text.strip("\n").splitlines())

    code = (
        f"{HEAD}\n\nclass Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n{lines(setup)}\n"
        f"    def forward(self, {arguments}) -> torch.Tensor:\n{lines(body)}\n\n"
        f"def make() -> Annotated[nn.Module, {shapes!r}]:\n    torch.manual_seed(0)\n    return Model()\n"
    )
    return Neighbour(name, lambda folder: made(code, f"near_{name.replace(' ', '_')}", inputs, folder), **more)


def made(code: str, module: str, inputs: Inputs, folder: Path) -> Made:
    """Write a module into a folder, and ask its model."""
    import torch

    (folder / f"{module}.py").write_text(code)
    found: dict[str, Any] = {"__name__": module}
    exec(compile(code, str(folder / f"{module}.py"), "exec"), found)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = found["make"]().eval()
    return Made(f"python:{module}:make", [_question(model, each) for each in inputs])


def _question(model: Callable[..., Any], arrays: Mapping[str, Any]) -> Question:
    import torch

    with torch.no_grad():
        answers = model(*(torch.from_numpy(np.array(each)) for each in arrays.values()))
    answers = answers.values() if isinstance(answers, dict) else answers
    answers = (answers,) if isinstance(answers, torch.Tensor) else tuple(answers)
    return Question(arrays, [answer.numpy() for answer in answers])


def operator(name: str, body: str, inputs: Inputs = LINES, shapes: str = "x=1x4", **more: Any) -> Neighbour:
    """Return the row of one formula, by the quick exporter."""
    return row(name, f"return {body}", inputs, shapes, options=QUICK, **more)


def _whole(**more: Any) -> Inputs:
    return tuple({"k": each, **more} for each in (WHOLE, WHOLE[:1], WHOLE[2:3]))


def _lengths() -> Inputs:
    random = np.random.default_rng(0)
    return tuple(
        {"x": random.normal(size=(len(each), 6, 4)).astype(np.float32), "n": np.array(each)}
        for each in ([6, 3, 1, 5, 2], [4], [1, 1, 1], [2, 6])
    )


def _long(*lengths: int) -> Inputs:
    random = np.random.default_rng(0)
    return tuple({"x": random.normal(size=(2, each, 4)).astype(np.float32)} for each in lengths)


PACKED = "packed = nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)\n"
PADDED = "nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]"
LENGTHS = "x=1x6x4,n=1:int64"
K = "k=1x3:int64"
NEIGHBOURS = (
    row("while", "while bool(x.abs().max() > 10):\n    x = x / 2\nreturn x", options=QUICK),
    row("early return", "if x.sum() < -10:\n    return x * 0\nreturn x + 1", options=QUICK),
    row("all of a mask", "mask = x > 0\nif mask.all():\n    return x\nreturn x.masked_fill(~mask, 0) - 1", options=QUICK),
    row("break", "for i in range(5):\n    x = x * 0.5\n    if bool(x.abs().max() < 1):\n        break\nreturn x", options=QUICK),
    row("two conditions", "return x * 2 if bool(x.min() > 0) and bool(x.max() < 10) else x", options=QUICK),
    row("branch and an operator of one exporter", "if bool(x.sum() > 0):\n    x = x.trunc()\nreturn torch.frac(x)", options=QUICK),
    row("number in a product", "return x * x.max().item()", slow=True),
    row("larger of two", "return x * max(x.mean(), x.new_tensor(0.5))", slow=True),
    row("dictionary", "return x * {0: 1.0, 1: 2.0}.get(int(x[0, 0]), 7.0)", verdict=READS, options=QUICK),
    row("list of values", "return torch.tensor([v * 2 if v > 0 else v for v in x.flatten().tolist()])", verdict=READS, options=QUICK),
    row("caught", "try:\n    if x.sum() > 10:\n        raise ValueError\n    return x * 3\nexcept ValueError:\n    return x / 3", verdict=READS, options=QUICK),
    row("caught by the caller", "try:\n    self.check(x)\n    return x * 3\nexcept ValueError:\n    return x / 3", setup="def check(x):\n    if x.sum() > 1e5:\n        raise ValueError\nself.check = check", verdict=READS, options=QUICK),
    row("whole numbers behind a branch", "if bool(k.sum() > 0):\n    k = -k\nreturn k // 3 + k % 5", _whole(), K, options=QUICK),
    row("numpy", "return torch.from_numpy(np.sort(x.detach().numpy(), axis=1)) + x", verdict=READS, options=QUICK),
    row("math", "return x * math.exp(-abs(x.mean().item()))", verdict=READS, options=QUICK),
    row("sorted", "return torch.stack(sorted([x.mean(), x.min(), x.max() * 0.3]))", verdict=READS, options=QUICK),
    row("equal", "return x if torch.equal(x, x.abs()) else x + 1", verdict=READS, options=QUICK),
    row("data", "return x.data * 2 + x", options=QUICK),
    row("assertion", 'assert x.max() < 1e6, "too large"\nreturn x * 2', options=QUICK),
    row("flag of a buffer", "return x * self.scale if self.flag else x", setup='self.register_buffer("flag", torch.tensor(True))\nself.scale = nn.Parameter(torch.tensor(3.0))', options=QUICK),
    row("training", "return x * 100 if self.training else F.dropout(x, 0.5, self.training)", options=QUICK),
    row("assumed of another line", "if bool((x > 1e6).any()):\n    x = x / 255\nreturn x * 2", verdict="Lines with such values", options={"assume_branch": "near_assumed_of_another_line.py:3=false", **QUICK}),
    row("assumed otherwise", "if bool((x > 1e6).any()):\n    x = x / 255\nreturn x * 2", verdict="assume-branch", options={"assume_branch": "near_assumed_otherwise.py:15=true", **QUICK}),
    row("assumed", "if bool((x > 1e6).any()):\n    x = x / 255\nreturn x * 2", options={"assume_branch": "near_assumed.py:15=false", **QUICK}),
    operator("log of almost zero", "torch.log(x.abs() + 1e-10)"),
    row("small constants by the newer exporter", "return torch.log(x.abs() + 1e-10) * 1.000001 / (x.abs() + 1e-9)", ROWS),
    row("outputs called as operators", 'h = torch.roll(x, 1, 1)\nreturn {"roll": torch.roll(h, 1, 1) + 1, "add": h * 2 + 3, "neg": -(-h // 2)}', ROWS),
    row("branch on a length", "if x.shape[1] > 40:\n    x = x[:, :40] * 2\nreturn x + 1", _long(3, 40, 41, 60), "x=1x5x4", options={"dynamic": "x:0=batch,1=length", "verify_effort": "quick"}, slow=True),
    row("table of positions", "return x + self.p[: x.shape[1]]", _long(3, 40), "x=1x5x4", "self.p = nn.Parameter(torch.randn(40, 4))", options={"dynamic": "x:0=batch,1=length", "verify_effort": "quick"}),
    row("branch on a batch", "if x.shape[0] > 2:\n    return x * 2\nreturn x", slow=True),
    row("near zero by the newer exporter", "return torch.isclose(x, x * 0)", slow=True),
    row("remainder of a number by the newer exporter", "return 5.0 % (x + 0.25)", slow=True),
    operator("whole numbers below a number", "5 // (k * 2 + 1) + -5 % (k * 2 + 1)", _whole(), K),
    operator("shifts of negative numbers", "(k >> 1) + (k << 3)", _whole(), K),
    operator("floor of whole numbers", "k.floor() + k.ceil() + k.trunc()", _whole(), K),
    operator("negative bytes", "-k", ({"k": np.array([[0, 1, 255], [127, 128, 254]], np.uint8)},), "k=1x3:uint8"),
    operator("hyperbolic", "torch.hypot(x, x.flip(1)) + torch.copysign(x, x.flip(1)) + x.clamp(-9, 9).sinh()"),
    operator("sum of powers", "torch.logaddexp(x, x.flip(1))"),
    operator("logarithm of a sigmoid", "torch.log(torch.sigmoid(x).clamp(min=1e-30))", verdict="differs by"),
    operator("clamp of whole numbers by floats", "k.clamp(0.5, 3.5)", _whole(), K, verdict="differs by"),
    operator("running sum of int32", "k.cumsum(1)", ({"k": np.array([[2, -3, 7]], np.int32)},), "k=1x3:int32"),
    operator("added at repeated places", "x.index_put((k[0] * 0, k[0] % 4), torch.ones(1), accumulate=True)", (), f"x=1x4,{K}", verdict="the converted model fails"),
    operator("divisors that may be 0", "k // j", ({"k": WHOLE, "j": WHOLE * 2 + 1},), f"{K},j=1x3:int64"),
    row("packed lengths", f"{PACKED}return {PADDED}", _lengths(), LENGTHS, "self.rnn = nn.LSTM(4, 3, batch_first=True, bidirectional=True)", options={"verify_effort": "quick", **QUICK}, slow=True),
    row("packed to the last state", f"{PACKED}return self.rnn(packed)[1][-1]", _lengths(), LENGTHS, "self.rnn = nn.GRU(4, 3, batch_first=True)", options=QUICK, verdict="can't export"),
    row("mean of what a mask leaves", "return (x * m[..., None]).sum(1) / m.sum(1, keepdim=True)", ({"x": NUMBERS[:, :3, None] * np.ones(4, np.float32), "m": np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1], [0, 1, 1], [1, 0, 1]])},), "x=1x3x4,m=1x3:int64", options=QUICK),
)  # fmt: skip
