"""Models of every shape: each is checked with a real Triton before it is published."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from modelrepo.generator.triton import pbtxt

# One module for all: a server and a process are started once, and PyTorch is imported once.
NETS = """
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch import nn


class Sum(nn.Module):
    def forward(self, left, right, third):
        return left + 2 * right + 3 * third


class Parts(nn.Module):
    def forward(self, x):
        return x * 2, x.sum(1), x[:, :2]


@dataclass
class Found:
    boxes: torch.Tensor
    extra: dict


class Nested(nn.Module):
    def forward(self, x):
        return {"states": [x * 2, (x + 1, x + 2)], "found": Found(x * 3, {"score": x.sum(1), "none": None}), "count": 3}


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class NamedPair(nn.Module):
    def forward(self, x):
        return Pair(x, x * x)


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(2, 4)

    def forward(self, ids, mask=None, *, bias=None, scale=2.0):
        states = self.embedding(ids) * scale
        if mask is not None:
            states = states * mask.unsqueeze(-1)
        return states if bias is None else states + bias


class Scalar(nn.Module):
    def forward(self, x, temperature):
        return (x / (1 + temperature.abs())).softmax(-1)


class Mixed(nn.Module):
    def forward(self, flags, counts, bytes_, places):
        return torch.where(flags, counts, bytes_.long()), flags.logical_not(), places.to(torch.int32) + 1, counts > 0


class Branch(nn.Module):
    def forward(self, x):
        return x.cumsum(1) if x.shape[1] > 4 else x * 3


class Cond(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class Tokens(nn.Module):
    def forward(self, ids, mask):
        return ids.float().unsqueeze(-1) * mask.unsqueeze(-1), (ids * mask).sum(1)


class Same(nn.Module):
    def forward(self, x):
        doubled = x * 2
        return {"input": x, "one": doubled, "again": doubled}


class Whole(nn.Module):
    def forward(self, x):
        return x.mean(0), x * 2


class Places(nn.Module):
    def forward(self, x):
        return x.argmax(1), (x > 0).int().cumsum(1)


class Selects(nn.Module):
    def forward(self, x):
        return x[x > 0]


class Writes(nn.Module):
    def forward(self, x):
        x += 1
        return x
"""


@dataclass(frozen=True)
class Case:
    """A model of NETS: the description of its inputs, the served shapes, and the largest batch."""

    inputs: str
    served: Mapping[str, list[int]]
    batch: int
    dynamic: str = ""
    factory: str = ""
    notes: str = ""
    types: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "Sum": Case("left=1x4,right=1x4,third=1x4", {"left": [4], "right": [4], "third": [4], "output": [4]}, 4),
    "Parts": Case("1x4", {"x": [4], "output_0": [4], "output_1": [1], "output_2": [2]}, 4),
    "Nested": Case(
        "1x4",
        {
            "x": [4],
            "states_0": [4],
            "states_1_0": [4],
            "states_1_1": [4],
            "found_boxes": [4],
            "found_extra_score": [1],
        },
        4,
        notes="its output 'count' is left out: a int, not a tensor",
    ),
    "NamedPair": Case("1x4", {"x": [4], "first": [4], "second": [4]}, 4),
    "left_out": Case("ids=1x3:int64", {"ids": [3], "output": [3, 4]}, 4, factory="Optional"),
    "given": Case("bias=1x1x4,ids=1x3:int64", {"bias": [1, 4], "ids": [3], "output": [3, 4]}, 4, factory="Optional"),
    "Scalar": Case(
        "x=2x5,temperature=scalar", {"x": [2, 5], "temperature": [1], "output": [2, 5]}, 0, notes="batching is off"
    ),
    "Mixed": Case(
        "flags=1x4:bool,counts=1x4:int64,bytes_=1x4:uint8,places=1x4:int32",
        {name: [4] for name in ("flags", "counts", "bytes_", "places", "output_0", "output_1", "output_2", "output_3")},
        4,
        types={
            "flags": "TYPE_BOOL",
            "bytes_": "TYPE_UINT8",
            "places": "TYPE_INT32",
            "output_0": "TYPE_INT64",
            "output_1": "TYPE_BOOL",
            "output_2": "TYPE_INT32",
        },
    ),
    "short": Case("1x3", {"x": [3], "output": [3]}, 4, factory="Branch"),
    "long": Case("1x8", {"x": [8], "output": [8]}, 4, factory="Branch"),
    "either": Case(
        "1x8",
        {"x": [-1], "output": [-1]},
        4,
        dynamic="x:0=batch,1=length",
        factory="Branch",
        notes="compiled by TorchScript, with its branches",
    ),
    "Cond": Case("1x4", {"x": [-1, 4], "output": [-1, 4]}, 0, notes="samples of one batch influence each other"),
    "Tokens": Case(
        "ids=1x8:int64,mask=1x8:int64",
        {"ids": [-1], "mask": [-1], "output_0": [-1, 1], "output_1": [1]},
        4,
        dynamic="ids:0=batch,1=seq;mask:0=batch,1=seq",
    ),
    "Same": Case("1x4", {"x": [4], "input": [4], "one": [4], "again": [4]}, 4),
    "Whole": Case("1x4", {"x": [-1, 4], "output_0": [4], "output_1": [-1, 4]}, 0, notes="batching is off: output_0[4]"),
    "Places": Case("1x4", {"x": [4], "output_0": [1], "output_1": [4]}, 4, types={"output_0": "TYPE_INT64"}),
    "Selects": Case("1x4", {"x": [-1, 4], "output": [-1]}, 0, notes="batching is off: output["),
    "Writes": Case("1x4", {"x": [4], "output": [4]}, 4),
}


@dataclass(frozen=True)
class Generated:
    """One run of `generate` over all cases: its rows by model, and the folder it ran in."""

    rows: Mapping[str, dict[str, Any]]
    folder: Path
    err: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "nets.py").write_text(NETS)
    lines = ["max_batch_size = 4", 'client_dir = "none"']
    for name, case in CASES.items():
        lines += [f"[models.{name}]", f'model = "python:nets:{case.factory or name}"', f'input_shape = "{case.inputs}"']
        lines += [f'dynamic = "{case.dynamic}"'] if case.dynamic else []
    (folder / "modelrepo.toml").write_text("\n".join(lines))
    # What is imported is spared from the garbage collection after every model.
    imports = "import gc, sys, torch, onnxruntime, onnxscript.function_libs.torch_lib.ops; gc.freeze()"
    command = f"{imports}; from modelrepo.cli.entry import generate; sys.exit(generate())"
    done = subprocess.run(
        [sys.executable, "-c", command, "--live-check", "require", "--json", "--quiet"],
        cwd=folder, env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True,
    )  # fmt: skip
    return Generated({row["model"]: row for row in json.loads(done.stdout)["results"]}, folder, done.stderr)


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_served_in_the_shape_it_has(name: str, run: Generated) -> None:
    case, row = CASES[name], run.rows[name]
    assert row["status"] == "published", run.err
    assert row["verification"]["live"]["status"] == "passed"
    assert row["max_batch_size"] == case.batch
    text = (run.folder / f"model_repository/{name}/config.pbtxt").read_text()
    config = pbtxt.parse(text, name)
    tensors = [*config.input, *config.output]
    assert {each.name: list(each.dims) for each in tensors} == case.served
    types = dict(re.findall(r'name: "(\w+)"\s+data_type: (\w+)', text))
    assert {tensor: types[tensor] for tensor in case.types} == case.types
    assert any(case.notes in note for note in row["notes"]) or not case.notes
    assert name == "either" or not any("failed" in note or "fixed" in note for note in row["notes"])


def test_control_flow_on_sizes_is_served_on_both_of_its_sides(run: Generated) -> None:
    session = onnxruntime.InferenceSession(run.folder / "model_repository/either/1/model.onnx")
    for size, expected in ((3, [3.0, 3.0, 3.0]), (5, [1.0, 2.0, 3.0, 4.0, 5.0])):
        (answer,) = session.run(None, {"x": np.ones((1, size), "float32")})
        assert answer.tolist() == [expected]
