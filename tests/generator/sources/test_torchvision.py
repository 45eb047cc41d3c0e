"""torchvision's classifiers, with real exports, on images small enough to be quick."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
import torchvision
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.tensors import InputShape
from modelrepo.generator.system.digests import sha256_of
from tests.conftest import PROJECT, QUICK_EXPORT, Generate, assert_refused, snapshot

MODEL = "shufflenet_v2_x0_5"
SMALL = ("--model", MODEL, "--input-shape", "3x64x64", "--json", "-q")
RANDOM = (*SMALL, "--weights", "random")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> Path:
    """A file accepted as torchvision's own trained weights: their name is changed to its digest."""
    torch.manual_seed(1)
    file = workdir / "trained.pth"
    torch.save(torchvision.models.get_model(MODEL).state_dict(), file)
    published = torchvision.models.get_model_weights(MODEL).DEFAULT
    named = f"trained-{sha256_of(file)[:8]}.pth"
    monkeypatch.setattr(published.value, "url", f"https://download.pytorch.org/models/{named}")
    return file.rename(workdir / named)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty weights cache, and no way to download, as in a closed network."""
    cache = tmp_path_factory.mktemp("torch")
    monkeypatch.setenv("TORCH_HOME", str(cache))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return cache


def served(path: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_a_classifier_is_exported_verified_and_published(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, "--max-batch-size", "4")
    result = outcome.result
    assert outcome.code == 0, outcome.err
    assert (result["backend"], result["name"], result["status"]) == ("onnxruntime", MODEL, "published")
    assert result["verification"]["passed"] is True
    assert result["verification"]["batch_invariant"] is True
    assert result["verification"]["cases"] >= 28
    assert result["verification"]["max_rel_diff"] < 1e-4
    assert set(outcome.report["seconds"]) == {"load", "export", "verify", "publish", "total"}

    path = Path(result["path"]) / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    session = served(str(path))
    assert [tensor.shape for tensor in session.get_inputs()] == [["batch", 3, 64, 64]]
    assert [tensor.shape for tensor in session.get_outputs()] == [["batch", 1000]]
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.ir_version) == (20, 10)

    config = text_format.Parse((path.parents[1] / "config.pbtxt").read_text(), ModelConfig())
    assert (config.max_batch_size, config.backend) == (4, "onnxruntime")
    assert list(config.input[0].dims) == [3, 64, 64]
    assert config.parameters["untrained"].string_value == "true"
    labels = (path.parents[1] / "labels.txt").read_text().splitlines()
    assert (len(labels), labels[0]) == (1000, "tench")


def test_the_second_run_is_unchanged_and_imports_no_framework(generate: Generate, workdir: Path) -> None:
    arguments = [*RANDOM, *QUICK_EXPORT, "--backends", "onnx,tensorrt", "--max-batch-size", "2"]
    generate(*arguments)
    script = (
        "import sys; from modelrepo.cli.commands import generate; from modelrepo.cli.terminal import errors\n"
        "assert errors.run(generate.generate, 'generate') == 0\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'onnxruntime', 'tritonclient'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    before = snapshot(workdir)
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT)}
    )
    assert run.returncode == 0, run.stderr
    assert [row["status"] for row in json.loads(run.stdout)["results"]] == ["unchanged", "deferred"]
    assert snapshot(workdir) == before


def test_seeds_decide_random_weights(generate: Generate, workdir: Path) -> None:
    def initial(seed: str) -> bytes:
        folder = f"r{len(list(workdir.iterdir()))}"
        outcome = generate(*RANDOM, *QUICK_EXPORT, "--seed", seed, "--max-batch-size", "1", "--repository", folder)
        return (Path(outcome.result["path"]) / "model.onnx").read_bytes()

    first, again, other = initial("0"), initial("0"), initial("1")
    assert first == again
    assert first != other


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_yours_with_classes_of_yours(generate: Generate, workdir: Path, suffix: str) -> None:
    torch.manual_seed(5)
    mine = torchvision.models.get_model(MODEL, num_classes=7).eval()
    file = workdir / f"mine{suffix}"
    if suffix == ".pth":
        # As trainers save it: a checkpoint, from DataParallel.
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in mine.state_dict().items()}}, file)
    else:
        safetensors.torch.save_file(mine.state_dict(), file)
    outcome = generate(*SMALL, *QUICK_EXPORT, "--weights", str(file), "--max-batch-size", "2")
    assert outcome.code == 0, outcome.err
    image = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype("float32")
    (answer,) = served(outcome.result["path"] + "/model.onnx").run(None, {"input": image})
    with torch.inference_mode():
        np.testing.assert_allclose(answer, mine(torch.from_numpy(image)).numpy(), rtol=1e-3, atol=1e-4)
    model = Path(outcome.result["path"]).parent
    assert not (model / "labels.txt").exists(), "ImageNet's class names say nothing about 7 other classes"
    assert "untrained" not in (model / "config.pbtxt").read_text()


class Code:
    """Code that a weights file must not run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("code ran",)


def corrupt(file: Path) -> None:
    torch.save(torchvision.models.get_model(MODEL).state_dict(), file)
    file.write_bytes(file.read_bytes()[:2000])


def with_nan(file: Path) -> None:
    state = torchvision.models.get_model(MODEL).state_dict()
    state["fc.bias"][3] = torch.nan
    torch.save(state, file)


# what the file holds, the exit code, and a part of the message.
BAD_WEIGHTS: dict[str, tuple[Any, int, str]] = {
    "empty": (lambda file: file.touch(), 3, "is empty"),
    "truncated": (corrupt, 3, "is truncated"),
    "text": (lambda file: file.write_text("weights"), 3, "is not a readable weights file"),
    "code": (lambda file: torch.save({"fc.weight": Code()}, file), 3, "--trust-source"),
    "a list": (lambda file: torch.save([1, 2], file), 3, "does not hold a state dict"),
    "another model": (
        lambda file: torch.save(torchvision.models.get_model("squeezenet1_1").state_dict(), file),
        3,
        f"does not fit {MODEL}: it lacks 338 tensors",
    ),
    "nan": (with_nan, 5, "itself answers NaN"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_unusable_weights_are_refused(
    generate: Generate, workdir: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    prepare, code, message = BAD_WEIGHTS[case]
    prepare(workdir / "weights.pth")
    before = snapshot(workdir)
    outcome = generate(*SMALL, *QUICK_EXPORT, "--weights", "weights.pth")
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert "code ran" not in outcome.out
    assert snapshot(workdir) == before


def test_a_broken_safetensors_file_is_refused(generate: Generate, workdir: Path) -> None:
    (workdir / "w.safetensors").write_bytes(b"\xff" * 64)
    outcome = generate(*SMALL, "--weights", "w.safetensors")
    assert (outcome.code, "is not a readable weights file" in outcome.err) == (3, True)


def test_a_whole_pickled_model_is_loaded_only_if_it_is_trusted(generate: Generate, workdir: Path) -> None:
    torch.save(torchvision.models.get_model(MODEL), workdir / "whole.pth")
    assert generate(*SMALL, "--weights", "whole.pth").code == 3
    trusted = ("--weights", "whole.pth", "--trust-source", "--max-batch-size", "1")
    assert generate(*SMALL, *QUICK_EXPORT, *trusted).code == 0


def test_weights_that_cannot_be_downloaded_name_the_way_out(generate: Generate, workdir: Path, offline: Path) -> None:
    outcome = generate(*SMALL)
    assert outcome.code == 3
    assert "can't download https://download.pytorch.org/models/shufflenetv2_x0.5-f707e7126e.pth" in outcome.err
    assert "--weights random" in outcome.err
    assert outcome.err.count("\n") == 1
    assert snapshot(workdir) == {}


def test_missing_weights_become_random_ones_with_a_warning_if_allowed(
    generate: Generate, workdir: Path, offline: Path, trained: Path
) -> None:
    (workdir / "modelrepo.toml").write_text('allow_untrained = true\nmax_batch_size = 2\nexporter = "torchscript"\n')
    first = generate(*SMALL)
    assert (first.code, first.result["status"]) == (0, "published")
    assert "RANDOM weights" in first.err
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{MODEL}/1.json").read_text())
    assert manifest["provenance"]["source"]["weights"]["untrained"] is True

    again = generate(*SMALL)
    assert again.result["status"] == "unchanged"
    assert "RANDOM weights" in again.err

    # The file arrives, by whatever way: now the model can be what was asked for.
    trained.rename(offline / "hub/checkpoints" / trained.name)
    made = generate(*SMALL)
    assert (made.code, made.result["version"]) == (0, 2), made.err
    assert "RANDOM" not in made.err
    assert "untrained" not in (workdir / f"model_repository/{MODEL}/config.pbtxt").read_text()
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{MODEL}/2.json").read_text())
    assert manifest["provenance"]["source"]["weights"]["sha256"].startswith(trained.stem.rpartition("-")[2])


def test_a_cached_weights_file_that_holds_code_does_not_run(generate: Generate, workdir: Path, offline: Path) -> None:
    (offline / "hub/checkpoints").mkdir(parents=True)
    torch.save({"fc.weight": Code()}, offline / "hub/checkpoints/shufflenetv2_x0.5-f707e7126e.pth")
    outcome = generate(*SMALL)
    assert outcome.code == 3
    assert "does not match its name" in outcome.err
    assert "code ran" not in outcome.out + outcome.err


def test_trained_weights_that_hold_code_do_not_run_it(
    generate: Generate, offline: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"fc.weight": Code()}, trained)
    file = offline / "hub/checkpoints" / f"trained-{sha256_of(trained)[:8]}.pth"
    file.parent.mkdir(parents=True)
    trained.rename(file)
    published = torchvision.models.get_model_weights(MODEL).DEFAULT
    monkeypatch.setattr(published.value, "url", f"https://download.pytorch.org/models/{file.name}")
    outcome = generate(*SMALL)
    assert (outcome.code, "is not a readable weights file" in outcome.err) == (3, True)
    assert "code ran" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "resnet5", "--weights", "random"), 3, "Did you mean resnet50 or"),
        (("--model", MODEL, "--weights", "random", "--input-shape", "64x64"), 2, "does not fit an image classifier"),
        (("--model", MODEL, "--weights", "random", "--input-shape", "x=3x64x64:float32"), 2, "names the input 'x'"),
        (("--model", MODEL, "--weights", "random", "--input-shape", "input=3x64x64:int64"), 2, "takes float32"),
        (("--model", MODEL, "--weights", "random", "--dynamic", "image:0=batch"), 2, "names the input 'image'"),
        (("--model", MODEL, "--weights", "random", "--task", "detection"), 2, "has no effect on"),
        (("--model", "squeezenet1_1", "--weights", "random", "--input-shape", "3x4x4"), 3, "itself fails on input"),
    ],
)
def test_requests_that_torchvision_cannot_fulfil_are_refused(
    generate: Generate, workdir: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert_refused(generate(*arguments, "-q"), code, message)
    assert snapshot(workdir) == {}


def test_an_older_opset_is_left_to_the_older_exporter(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, "--opset", "13", "--max-batch-size", "2")
    assert outcome.code == 0, outcome.err
    assert onnx.load(outcome.result["path"] + "/model.onnx").opset_import[0].version == 13
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{MODEL}/1.json").read_text())
    assert manifest["provenance"]["source"]["exporter"] == "torchscript"


def test_the_chosen_exporter_is_used_and_named(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, *QUICK_EXPORT, "--max-batch-size", "2")
    assert outcome.code == 0, outcome.err
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{MODEL}/1.json").read_text())
    assert manifest["provenance"]["source"]["exporter"] == "torchscript"
    assert outcome.result["verification"]["passed"] is True
    assert outcome.result["notes"] == []


def test_an_exporter_chosen_for_speed_is_refused_without_verification(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, *QUICK_EXPORT, "--no-verify")
    assert outcome.code == 2
    assert "must be verified" in outcome.err


def test_an_exporter_that_does_not_write_the_opset_is_refused(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, *QUICK_EXPORT, "--opset", "21")
    assert outcome.code == 4
    assert "does not write opset 21" in outcome.err


def test_the_older_exporter_is_tried_if_the_newer_fails_and_the_report_says_so(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, dynamo: bool, **options: object) -> None:
        if dynamo:
            raise RuntimeError("no translation for aten::novel")
        export(*arguments, dynamo=False, **options)

    export = torch.onnx.export
    monkeypatch.setattr("torch.onnx.export", failing)
    outcome = generate(*RANDOM, "--max-batch-size", "2")
    assert outcome.code == 0, outcome.err
    (note,) = outcome.result["notes"]
    assert "the torch.export exporter failed" in note
    assert "no translation for aten::novel" in note
    assert note in outcome.err


def test_both_reasons_are_reported_if_both_exporters_fail(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, dynamo: bool, **options: object) -> None:
        raise RuntimeError(f"no translation for aten::novel, with dynamo={dynamo}")

    monkeypatch.setattr("torch.onnx.export", failing)
    outcome = generate(*RANDOM)
    assert outcome.code == 4
    assert "dynamo=True" in outcome.err
    assert "dynamo=False" in outcome.err
    assert snapshot(workdir) == {}


def test_a_full_disk_during_export_is_a_repository_error(generate: Generate, workdir: Path) -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "from modelrepo.cli.entry import generate; generate()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *RANDOM, *QUICK_EXPORT],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert run.returncode == 6, run.stderr
    assert "File too large" in run.stderr
    assert snapshot(workdir) == {}


def test_a_network_that_starts_at_zero_gets_weights_that_verification_can_see() -> None:
    # ViT's head is zero until it is trained: every answer would be 0, and every conversion would pass.
    _, options = resolve({"weights": "random", "input_shape": (InputShape("", (3, 32, 32)),)}, ConfigFile(), "vit_b_32")
    source = SOURCES["torchvision"].load("vit_b_32", options, Progress())
    assert source.run({"input": np.ones((1, 3, 32, 32), "float32")})["output"].any()
