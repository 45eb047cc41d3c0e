"""Files of torch.export: programs and compiled packages."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelrepo.generator.inspection.exported import inspect
from modelrepo.generator.inspection.inspection import Inspection, Tensor
from tests.generator.inspection.damage import survives


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.tied = self.fc
        self.register_buffer("mask", torch.ones(8, dtype=torch.float16))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.tied(self.fc(x)) * self.mask, y * 2


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    example = torch.ones(2, 8), torch.ones(2, 3, dtype=torch.int64)
    dynamic = {"x": {0: batch}, "y": {0: batch}}
    torch.export.save(torch.export.export(Net().eval(), example, dynamic_shapes=dynamic), path)
    return path


def test_a_program_is_described(program: Path) -> None:
    found = inspect(program)
    assert found.valid
    size = found.inputs[0].shape[0] if found.inputs[0].shape else None
    assert isinstance(size, str)
    assert found.inputs == (Tensor("x", "FP32", (size, 8)), Tensor("y", "INT64", (size, 3)))
    assert [(each.data_type, each.shape) for each in found.outputs] == [("FP32", (size, 8)), ("INT64", (size, 3))]
    assert found.operators["aten.linear.default"] == 2
    assert {each.name: (each.layer, each.bytes, each.shared_by) for each in found.weights} == {
        "fc.weight": ("fc", 256, 2),
        "fc.bias": ("fc", 32, 2),
        "mask": ("(top level)", 16, found.operators["aten.to.dtype"] + 1 if "aten.to.dtype" in found.operators else 1),
    }
    assert dict(found.facts)[f"size {size}"] == "1 to 64"
    assert dict(found.facts)["written by"] == f"torch {torch.__version__}"
    assert found.batching is not None
    assert (found.batching.verdict, found.batching.by) == ("yes", "x")
    assert found.batching.reason.endswith("and no operator loses it; 64 samples at most")
    assert [use.verdict for use in found.uses] == ["no"]  # the backend loads compiled packages only


def test_a_program_of_one_size_is_not_batched(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Linear(8, 4), (torch.ones(1, 8),)), path)
    batching = inspect(path).batching
    assert batching is not None
    assert (batching.verdict, batching.by) == ("no", "input")
    assert batching.reason == "the first dimension of the input input is always 1"


class Called(nn.Module):  # type: ignore[misc]
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "by"),
    [
        (lambda x: x.softmax(-1) - x.mean(2, keepdim=True), ""),
        (lambda x: x.reshape(x.shape[0], -1)[:, 1:], ""),
        (lambda x: torch.stack([x, x]).permute(1, 0, 2, 3).transpose(0, 1).unbind(0)[1], ""),
        (lambda x: torch.cat([torch.ones(1, 1, 4).expand(x.shape[0], -1, -1), x], 1), ""),
        (lambda x: x.transpose(1, 2).reshape(x.shape[0] * 4, 2).softmax(-1).reshape(x.shape[0], -1), ""),
        (lambda x: x - x.mean(0), "aten.mean.dim"),
        (lambda x: x / x.abs().max(), "aten.max.default"),
        (lambda x: x.softmax(0), "aten.softmax.int"),
        (lambda x: x.cumsum(-3), "aten.cumsum.default"),
        (lambda x: (x[:, 0] @ x[:, 0].T) @ x[:, 0], "aten.matmul.default"),
        (lambda x: x.flatten(0, 1).softmax(0).reshape(x.shape[0], -1), "aten.softmax.int"),
        (lambda x: torch.cat([x, x])[: x.shape[0]], "aten.cat.default"),
    ],
)
def test_a_node_that_may_mix_samples_is_named(tmp_path: Path, function: Any, by: str) -> None:
    path = tmp_path / "net.pt2"
    dynamic = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    torch.export.save(torch.export.export(Called(function), (torch.ones(3, 2, 4),), dynamic_shapes=dynamic), path)
    found = inspect(path)
    assert found.batching is not None
    if not by:
        assert found.batching.verdict == "yes", found.batching
    else:
        operators = {node.name: node.operator for node in found.nodes}
        assert found.batching.verdict == "unknown"
        assert operators[found.batching.by] == by


WRAPPER = """
    inputs_info_[0].name = "arg5_1";
    constants_info_[0].name = "fc_weight";
    constants_info_[0].dtype = cached_torch_dtype_float32;
    constants_info_[0].data_size = 128;
    constants_info_[0].shape = {4, 8};
    constants_info_[0].original_fqn = "fc.weight";
    outputs_info_[0].name = "output0";
AOTI_NOINLINE static void check_input_0(
    AtenTensorHandle* input_handles
) {
    int32_t arg5_1_expected_dtype = aoti_torch_dtype_float32();
    if (arg5_1_size[0] > 64) {
    }
    if (8 != arg5_1_size[1]) {
    }
    if (1 != arg5_1_stride[1]) {
    }
}
"""


def package(path: Path, code: str = WRAPPER, *, library: bool = True) -> Path:
    """Write the parts of a compiled package that are read; torch 2.14 wrote one like it."""
    folder = "net/data/aotinductor/model/cabc.wrapper"
    metadata = {"AOTI_DEVICE_KEY": "cpu", "AOTI_CPU_ISA": "AVX512", "AOTI_COMPUTE_CAPABILITY": ""}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr(f"{folder}_metadata.json", json.dumps(metadata))
        archive.writestr(f"{folder}.cpp", code)
        if library:
            archive.writestr(f"{folder}.so", b"\x7fELF")
    return path


def test_a_compiled_package_says_what_it_was_compiled_for(tmp_path: Path) -> None:
    found = inspect(package(tmp_path / "net.pt2"))
    assert found.valid
    assert found.format == "AOTInductor package"
    assert found.facts == (("device", "cpu"), ("CPU instructions", "AVX512"), ("sizes of INPUT__0[0]", "at most 64"))
    assert found.inputs == (Tensor("INPUT__0", "FP32", (None, 8)),)
    assert [each.name for each in found.outputs] == ["OUTPUT__0"]
    assert [(each.name, each.layer, each.bytes) for each in found.weights] == [("fc.weight", "fc", 128)]
    verdicts = {release: use.verdict for use in found.uses for release in use.releases}
    assert (verdicts["26.02"], verdicts["26.03"]) == ("no", "unknown")


def test_a_package_without_its_library_is_not_valid(tmp_path: Path) -> None:
    assert inspect(package(tmp_path / "net.pt2", library=False)).faults == ("the compiled library (.so) is missing",)


def test_code_without_end_does_not_hang(tmp_path: Path) -> None:
    code = "static void check_input_0(" * 50_000 + "constants_info_[0].x = " * 20_000
    assert inspect(package(tmp_path / "net.pt2", code)).valid


def test_damaged_files_never_raise(program: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "program.pt2", package(tmp_path / "package.pt2")):
        if not path.exists():
            path.write_bytes(program.read_bytes())
        assert sum(not each.valid for each in survives(inspect, path)) > 50


def repacked(archive: Path, member: str, path: Path) -> Callable[[Path], Inspection]:
    """Return an inspection of an archive whose ``member`` is another file."""
    with zipfile.ZipFile(archive) as whole:
        content = {name: whole.read(name) for name in whole.namelist()}

    def packed(changed: Path) -> Inspection:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, value in content.items():
                archive.writestr(name, changed.read_bytes() if name == member else value)
        path.write_bytes(made.getvalue())
        return inspect(path)

    return packed


def test_damaged_json_never_raises(program: Path, tmp_path: Path) -> None:
    faulty = set()
    with zipfile.ZipFile(program) as archive:
        for name in [each for each in archive.namelist() if each.endswith(".json")]:
            part = tmp_path / "part.json"
            part.write_bytes(archive.read(name))
            found = survives(repacked(program, name, tmp_path / "net.pt2"), part)
            faulty |= {Path(name).name for each in found if not each.valid}
    assert faulty


@pytest.mark.parametrize("value", [None, "text", [None], {}, 10**400])
def test_json_of_other_values_never_raises(program: Path, tmp_path: Path, value: Any) -> None:
    with zipfile.ZipFile(program) as archive:
        name = next(each for each in archive.namelist() if "/models/" in each)
        document = json.loads(archive.read(name))
    part = tmp_path / "part.json"
    inspected, found = repacked(program, name, tmp_path / "net.pt2"), []

    def replaced(node: Any, depth: int) -> None:
        """Inspect the document with each of its values replaced in turn."""
        for key in list(node) if isinstance(node, dict) else range(min(2, len(node))) if isinstance(node, list) else ():
            kept, node[key] = node[key], value
            part.write_text(json.dumps(document))
            found.append(inspected(part))
            node[key] = kept
            if depth < 4:
                replaced(kept, depth + 1)

    replaced(document, 0)
    assert any(not each.valid for each in found)
