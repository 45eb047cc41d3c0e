"""TorchScript files: arguments, modules, weights and operators, without running their code."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelrepo.generator.inspection import pickled
from modelrepo.generator.inspection.inspection import Tensor
from modelrepo.generator.inspection.torchscript import inspect
from tests.generator.inspection.damage import survives

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


class Layer(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.fc(x))


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Layer(), Layer()
        self.second.fc.weight = self.first.fc.weight
        self.register_buffer("mask", torch.ones(8, dtype=torch.float16))
        self.labels = ["cat", "dog"]

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.second(self.first(x))
        return z + y * self.mask, z.reshape(-1, 4, 2)


class Fixed(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(1, -1)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scripted") / "net.pt"
    torch.jit.script(Net().eval()).save(path)
    return path


def test_a_scripted_model_is_described(scripted: Path) -> None:
    found = inspect(scripted)
    assert found.valid
    assert found.inputs == (Tensor("x", "Tensor", None), Tensor("y", "Tensor", None))
    assert [each.name for each in found.outputs] == ["OUTPUT__0", "OUTPUT__1"]
    assert [(each.name, each.operator, each.level) for each in found.nodes] == [
        ("", "Net", 0),
        ("first", "Layer", 1),
        ("first.fc", "Linear", 2),
        ("second", "Layer", 1),
        ("second.fc", "Linear", 2),
    ]
    weights = {each.name: each for each in found.weights}
    assert sorted(weights) == ["first.fc.bias", "first.fc.weight", "mask", "second.fc.bias"]
    assert weights["first.fc.weight"].shared_by == 2
    assert (weights["mask"].data_type, weights["mask"].bytes, weights["mask"].layer) == ("FP16", 16, "(top level)")
    assert found.operators["torch.linear"] == found.operators["torch.relu"] == 2  # a class, for each of its modules
    assert dict(found.facts)["attribute labels"] == "['cat', 'dog']"
    assert found.batching is not None
    assert found.batching.verdict == "unknown"
    assert {use.verdict for use in found.uses} == {"yes"}


def test_all_weights_of_the_module_are_counted_once(scripted: Path) -> None:
    loaded = torch.jit.load(scripted)
    expected = {each.data_ptr(): each.nbytes for each in (*loaded.parameters(), *loaded.buffers())}
    assert sum(each.bytes for each in inspect(scripted).weights) == sum(expected.values())


def test_a_traced_model_tells_its_example_and_the_shape_that_tracing_wrote(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.trace(Fixed(), torch.ones(1, 8, dtype=torch.int32)).save(path)
    found = inspect(path)
    assert dict(found.facts)["traced with"] == "INT32 [1, 8]"
    assert found.inputs == (Tensor("x", "INT32", None),)
    assert found.batching is not None
    assert found.batching.by == "torch.view(x, [1, -1])"


def test_a_frozen_model_has_its_weights_as_constants(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.freeze(torch.jit.script(Layer().eval())).save(path)
    assert {each.layer: each.parameters for each in inspect(path).weights} == {"constants": 8}
    assert sum(each.parameters for each in inspect(path).weights) == 72


def test_arguments_that_no_request_holds_are_no_use_for_triton(tmp_path: Path) -> None:
    class Scaled(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
            return x * scale

    path = tmp_path / "net.pt"
    torch.jit.script(Scaled()).save(path)
    (use,) = inspect(path).uses
    assert use.verdict == "no"
    assert use.reason == "requests can't hold the argument scale of type float"


@pytest.mark.filterwarnings("ignore")
def test_packed_weights_are_found(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    quantized = torch.ao.nn.quantized.dynamic.Linear(8, 4)
    torch.jit.script(quantized).save(path)
    assert {each.data_type: each.bytes for each in inspect(path).weights} == {"qint8": 32, "FP32": 16}


def test_missing_values_are_a_fault(scripted: Path, tmp_path: Path) -> None:
    cut = tmp_path / "net.pt"
    with zipfile.ZipFile(scripted) as whole, zipfile.ZipFile(cut, "w") as archive:
        for name in whole.namelist():
            if not name.endswith("/data/1"):
                content = whole.read(name)
                archive.writestr(name, content[:-1] if name.endswith("/data/0") else content)
    first, second = inspect(cut).faults
    assert first == "the values of mask are cut off: 15 bytes of 16"
    assert second == "the values of first.fc.weight are missing"


def test_weights_alone_are_not_torchscript(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    assert inspect(tmp_path / "w.pt").faults == ("it is not a TorchScript file",)


class Harmful:
    def __reduce__(self) -> Any:
        return sys.exit, ("called",)


def test_no_pickle_is_run() -> None:
    import pickle

    made = pickled.read(pickle.dumps(Harmful(), protocol=2))
    assert made == pickled.Made(pickled.Named("sys exit"), ("called",))


def test_a_list_of_weights_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02(" + b"K\x01" * (9 << 20) + b"t.")
        archive.writestr("net/constants.pkl", b"\x80\x02).")
    assert inspect(path).faults == ("its data.pkl has 18,874,373 bytes, and 16,777,216 are read",)


def test_code_without_end_does_not_hang(scripted: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(scripted.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/code/__torch__/endless.py", "torch.view(x,\n[1," * 200_000)
    assert inspect(path).valid


def test_damaged_files_never_raise(scripted: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(scripted.read_bytes())
    assert sum(not each.valid for each in survives(inspect, path)) > 100


def test_a_damaged_pickle_never_raises(scripted: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(scripted) as whole:
        content = {name: whole.read(name) for name in whole.namelist()}
    main = tmp_path / "data.pkl"
    main.write_bytes(next(value for name, value in content.items() if name.endswith("data.pkl")))

    def packed(changed: Path) -> Any:
        path = tmp_path / "net.pt"
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                archive.writestr(name, changed.read_bytes() if name.endswith("/data.pkl") else value)
        return inspect(path)

    assert any(not each.valid for each in survives(packed, main))
