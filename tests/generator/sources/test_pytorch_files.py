"""`--model torch:FILE.pt2`, `--model torchscript:FILE.pt`: files that PyTorch wrote, and broken ones."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.pytorch import state_dict
from modelrepo.generator.system.quiet import quiet
from modelrepo.generator.triton import pbtxt
from tests.conftest import Generate, Outcome, of_any_torch, snapshot

ones = torch.ones


def shapes_of(name: str) -> dict[str, list[int]]:
    config = pbtxt.parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), name)
    return {each.name: list(each.dims) for each in (*config.input, *config.output)}


def done(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    return outcome.result


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.dropout = torch.nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.dropout(self.norm(self.linear(x)))
        return answer


def program(
    module: torch.nn.Module,
    *arguments: Any,
    shapes: Any = None,
    named: Any = None,
    path: str = "net.pt2",
    train: bool = False,
) -> None:
    with quiet():
        exported = torch.export.export(module.train(train), arguments, named, dynamic_shapes=shapes)
        torch.export.save(exported, path)


def script(module: torch.nn.Module, *arguments: torch.Tensor, train: bool = False, path: str = "net.pt") -> None:
    """Save a module, traced with arguments, or compiled without any."""
    module.train(train)
    with quiet():
        made = torch.jit.trace(module, arguments, check_trace=False) if arguments else torch.jit.script(module)
        torch.jit.save(made, path)


# Programs of torch.export.


class Nested(torch.nn.Module):  # type: ignore[misc]
    def forward(self, pair: dict[str, Any], *, scale: torch.Tensor, flag: bool = True) -> Any:
        first, (second,) = pair["first"], pair["rest"]
        return {"sum": first.sum(1) + second.sum(1), "list": [first * scale if flag else first, second]}, second.mean(1)


def test_a_program_keeps_its_names_its_nesting_and_its_dynamic_shapes(generate: Generate, workdir: Path) -> None:
    batch, length = Dim("batch"), Dim("length", min=4, max=64)
    program(
        Nested(),
        {"first": ones(2, 4), "rest": [ones(2, 6)]},
        named={"scale": ones(2, 1)},
        shapes={"pair": {"first": {0: batch}, "rest": [{0: batch, 1: length}]}, "scale": {0: batch}},
    )
    result = done(generate("--model", "torch:net.pt2", "--live-check", "require", "--json"))
    assert (result["name"], result["max_batch_size"]) == ("net", 16)
    assert result["verification"]["live"]["status"] == "passed"
    assert shapes_of("net") == {
        "pair_first": [4],
        "pair_rest_0": [-1],
        "scale": [1],
        "output_0_sum": [1],
        "output_0_list_0": [4],
        "output_0_list_1": [-1],
        "output_1": [1],
    }
    # Lengths of 4 and more were asked: three lengths, four batch sizes.
    verification = result["verification"]
    assert verification["cases"] - verification["coverage"]["probes"] == 120


def test_the_dimensions_of_the_served_file_have_the_names_of_the_inputs(generate: Generate, workdir: Path) -> None:
    import onnx

    program(torch.nn.Linear(4, 3), ones(2, 5, 4), shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},))
    done(generate("--model", "torch:net.pt2", "--json"))
    graph = onnx.load("model_repository/net/1/model.onnx").graph
    named = [[dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in graph.output]
    assert named == [["batch", "input_1", 3]]


def test_constants_of_an_exported_program_stay(generate: Generate, workdir: Path) -> None:
    class Scaled(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, factor: float, more: torch.Tensor | None = None) -> Any:
            return {"y": x * factor, "five": 5}

    program(Scaled(), ones(2, 4), 3.0, None, shapes=({0: Dim.DYNAMIC}, None, None))
    result = done(generate("--model", "torch:net.pt2", "--json"))
    assert shapes_of("net") == {"x": [4], "y": [4]}
    assert result["notes"][0] == "its output 'five' is left out: a int, not a tensor"


def test_a_program_keeps_the_sizes_that_follow_from_others(generate: Generate, workdir: Path) -> None:
    rows = Dim("rows")
    program(Derived(), ones(2, 4), ones(6, 4), shapes={"x": {0: rows}, "y": {0: 3 * rows}})
    result = done(generate("--model", "torch:net.pt2", "--json"))
    assert shapes_of("net") == {"x": [-1, 4], "y": [-1, 4], "output": [-1]}
    assert not any("left out" in note for note in result["notes"])


def test_a_program_whose_size_is_a_multiple_is_asked_multiples(generate: Generate, workdir: Path) -> None:
    class Pairs(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(x.shape[0], -1, 2).sum(-1)

    program(Pairs(), ones(2, 6), shapes=({0: Dim("batch"), 1: 2 * Dim("pairs")},))
    done(generate("--model", "torch:net.pt2", "--json"))
    assert shapes_of("net") == {"x": [-1], "output": [-1]}


def test_a_program_without_dynamic_shapes_keeps_its_fixed_ones(generate: Generate, workdir: Path) -> None:
    program(torch.nn.Linear(4, 3), ones(2, 4))
    assert done(generate("--model", "torch:net.pt2", "--json"))["max_batch_size"] == 0
    assert shapes_of("net") == {"input": [2, 4], "output": [2, 3]}


def test_a_program_for_small_batches_names_its_largest_batch(generate: Generate, workdir: Path) -> None:
    program(torch.nn.Linear(4, 3), ones(2, 4), shapes=({0: Dim("batch", max=8)},))
    result = done(generate("--model", "torch:net.pt2", "--json"))
    assert result["max_batch_size"] == 0
    assert result["notes"][0] == "it was exported for at most 8 samples a batch: --max-batch-size 8 batches them"
    assert done(generate("--model", "torch:net.pt2", "--json", "--max-batch-size", "8"))["max_batch_size"] == 8


# TorchScript.


@pytest.mark.parametrize("kind", ["traced", "scripted in training mode", "frozen", "optimized"])
def test_a_torchscript_file_of_every_kind_is_served_in_evaluation_mode(
    kind: str, generate: Generate, workdir: Path
) -> None:
    if kind == "traced":
        script(Net(), ones(2, 4))
    elif kind == "scripted in training mode":
        script(Net(), train=True)
    else:
        with quiet():
            frozen = torch.jit.freeze(torch.jit.script(Net().eval()))
            made = frozen if kind == "frozen" else torch.jit.optimize_for_inference(torch.jit.script(Net().eval()))
            torch.jit.save(made, "net.pt")
    result = done(generate("--model", "torchscript:net.pt", "--input-shape", "1x4", "--json"))
    assert (result["max_batch_size"], result["verification"]["passed"]) == (16, True)
    assert shapes_of("net") == {"x": [4], "output": [3]}


class Branches(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(2, 4)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None = None, scale: float = 2.0
    ) -> dict[str, list[torch.Tensor]]:
        states = self.embedding(ids) * scale
        if mask is not None:
            states = states * mask.unsqueeze(-1)
        if states.size(1) > 5:
            states = states.cumsum(1)
        return {"states": [states, states.mean(1)]}


def test_a_compiled_file_keeps_its_branches_optional_inputs_and_nesting(generate: Generate, workdir: Path) -> None:
    script(Branches())
    arguments = ("--model", "torchscript:net.pt", "--json", "--live-check", "require", "--input-shape")
    dynamic = "ids:0=batch,1=seq;mask:0=batch,1=seq"
    result = done(generate(*arguments, "ids=1x8:int64,mask=1x8", "--dynamic", dynamic))
    assert shapes_of("net") == {"ids": [-1], "mask": [-1], "states_0": [-1, 4], "states_1": [4]}
    assert result["verification"]["live"]["status"] == "passed"
    assert not any("failed" in note for note in result["notes"])
    done(generate(*arguments, "ids=1x4:int64"))
    assert shapes_of("net") == {"ids": [4], "states_0": [4, 4], "states_1": [4]}


def test_operators_of_torchvision_are_known(generate: Generate, workdir: Path) -> None:
    import torchvision

    class Boxes(torch.nn.Module):  # type: ignore[misc]
        def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return torchvision.ops.nms(boxes, scores, 0.5)

    script(Boxes())
    arguments = ("--model", "torchscript:net.pt", "--input-shape", "boxes=6x4,scores=6", "--json")
    outcome = generate(*arguments)
    assert outcome.code == 0, outcome.err


# Bad input.


def edited(member: str, change: Callable[[str], str], path: str = "net.pt2") -> None:
    """Rewrite the member of an archive with this end of its name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(content.decode()) if name.endswith(member) else content)


def newer(text: str) -> str:
    document = json.loads(text)
    document["schema_version"]["major"] += 1
    document["torch_version"] = "9.9.0"
    return json.dumps(document)


def on_cuda(text: str) -> str:
    return re.sub(r'"type": "cpu", "index": null', '"type": "cuda", "index": 0', text)


class Derived(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.sum() + y.reshape(x.shape[0], -1).sum(1)


class Add(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


class Sliced(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x[:, :count] * 1


class Constant(torch.nn.Module):  # type: ignore[misc]
    def forward(self) -> torch.Tensor:
        return ones(2) * 3


class Lists(torch.nn.Module):  # type: ignore[misc]
    def forward(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return tensors[0]


class Three(torch.nn.Module):  # type: ignore[misc]
    def forward(self, ids: torch.Tensor, pixels: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return ids + pixels


def make_archive(path: str, member: str) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"")


def pickled_sample() -> None:
    """Replace the example inputs by a pickle of a class: torch would load it, and run its code."""
    program(Net(), ones(2, 4))
    torch.save(torch.nn.Linear(1, 1), "code.pth")
    with zipfile.ZipFile("net.pt2") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile("net.pt2", "w") as archive:
        for name, content in members.items():
            code = name.endswith("sample_inputs/model.pt")
            archive.writestr(name, Path("code.pth").read_bytes() if code else content)
    Path("code.pth").unlink()


def program_with(before: str, after: str) -> None:
    """Write a program with foreign Python code as one of its sizes or guards."""
    dims = {0: Dim("rows"), 1: Dim.AUTO}
    program(Add(), ones(2, 4), ones(2, 4), shapes={"x": dims, "y": {0: dims[0], 1: Dim.AUTO}})
    document = zipfile.ZipFile("net.pt2").read("net/models/model.json").decode()
    assert before in document
    edited("models/model.json", lambda text: text.replace(before, after))


CODE = "__import__('os').mkdir('ran')"


def newer_program() -> None:
    program(Net(), ones(2, 4))
    edited("models/model.json", newer)


def cuda_program() -> None:
    program(Net(), ones(2, 4))
    edited("weights_config.json", on_cuda)


def opaque_program() -> None:
    program(Net(), ones(2, 4))
    make_archive("net.pt2", "net/data/constants/opaque_obj_0")


def escaping_program() -> None:
    program(Net(), ones(2, 4))
    make_archive("net.pt2", "../../escaped")


def renamed_state() -> None:
    torch.save(Net().state_dict(), "net.pt2")


BAD: dict[str, tuple[Callable[[], None], str]] = {
    "training": (lambda: program(Net(), ones(2, 4), train=True), "torch:net.pt2"),
    "dropout": (lambda: program(torch.nn.Dropout(), ones(2, 4), train=True), "torch:net.pt2"),
    "newer": (newer_program, "torch:net.pt2"),
    "cuda": (cuda_program, "torch:net.pt2"),
    "code": (pickled_sample, "torch:net.pt2"),
    "opaque": (opaque_program, "torch:net.pt2"),
    "size": (lambda: program_with("\"Symbol('", f"\"{CODE} or Symbol('"), "torch:net.pt2"),
    "guard": (lambda: program_with("\"L['x'].size()[1]", f"\"{CODE} or L['x'].size()[1]"), "torch:net.pt2"),
    "leads-out": (escaping_program, "torch:net.pt2"),
    "number": (lambda: program(Sliced(), ones(2, 4), 3, shapes=({}, Dim.DYNAMIC)), "torch:net.pt2"),
    "no-inputs": (lambda: program(Constant()), "torch:net.pt2"),
    "bfloat16": (lambda: program(torch.nn.ReLU(), ones(2, dtype=torch.bfloat16)), "torch:net.pt2"),
    "state": (renamed_state, "torch:net.pt2"),
    "script": (lambda: script(Net(), path="net.pt2"), "torch:net.pt2"),
    "script-training": (lambda: script(Net(), ones(2, 4), train=True), "torchscript:net.pt --input-shape 1x4"),
    "script-program": (lambda: program(Net(), ones(2, 4), path="net.pt"), "torchscript:net.pt --input-shape 1x4"),
    "script-no-shape": (lambda: script(Net()), "torchscript:net.pt"),
    "script-no-shapes": (lambda: script(Three()), "torchscript:net.pt"),
    "script-ambiguous": (lambda: script(Three()), "torchscript:net.pt --input-shape 1x4"),
    "script-unknown": (lambda: script(Three()), "torchscript:net.pt --input-shape ids=1x4,image=1x4"),
    "script-list": (lambda: script(Lists()), "torchscript:net.pt --input-shape 1x4"),
    "script-meta": (lambda: script(Net().to("meta")), "torchscript:net.pt --input-shape 1x4"),
    "script-rejected": (lambda: script(Net()), "torchscript:net.pt --input-shape 1x5"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_input_gets_one_line_and_changes_nothing(
    case: str, generate: Generate, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    make, arguments = BAD[case]
    make()
    before = snapshot(workdir)
    outcome = generate("--model", *arguments.split(), "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert snapshot(workdir) == before
    golden(f"messages/pytorch/{case}.txt", of_any_torch(outcome.err))
    assert outcome.code == 3


def test_code_in_a_program_runs_only_if_it_is_trusted(generate: Generate, workdir: Path) -> None:
    program(Net(), ones(2, 4), shapes=({0: Dim.DYNAMIC},))
    opaque = "net/data/constants/opaque_obj_0"  # torch does not read what no configuration names
    make_archive("net.pt2", opaque)
    assert generate("--model", "torch:net.pt2").code == 3
    assert generate("--model", "torch:net.pt2", "--trust-source").code == 0


@pytest.mark.parametrize("layer", [torch.nn.BatchNorm1d(4, track_running_stats=False), torch.nn.InstanceNorm1d(4)])
def test_normalising_with_the_batch_in_evaluation_is_not_training_mode(
    layer: torch.nn.Module, generate: Generate, workdir: Path
) -> None:
    program(layer, ones(2, 4, 5), shapes=({0: Dim.DYNAMIC},))
    assert generate("--model", "torch:net.pt2", "--json").code == 0
    script(layer, ones(2, 4, 5))
    assert generate("--model", "torchscript:net.pt", "--input-shape", "2x4x5", "--json").code == 0


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.net."])
def test_weights_of_a_module_that_keeps_the_network_alone_fit_the_network(prefix: str) -> None:
    trained, network = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    state = {f"{prefix}{name}": value for name, value in trained.state_dict().items()}
    state_dict.fit(network, state, Path("last.ckpt"), "linear")
    assert torch.equal(network.weight, trained.weight)


def test_weights_of_a_module_that_keeps_more_than_the_network_are_refused() -> None:
    state = {f"model.{name}": value for name, value in torch.nn.Linear(3, 2).state_dict().items()}
    for more in ({"loss.weight": torch.ones(2)}, {"model.own": torch.ones(2)}):
        with pytest.raises(SourceError, match="does not fit linear: it lacks 2 tensors"):
            state_dict.fit(torch.nn.Linear(3, 2), {**state, **more}, Path("last.ckpt"), "linear")
