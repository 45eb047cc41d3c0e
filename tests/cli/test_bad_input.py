"""Bad input: one clear line, an exit code of its class, and a folder that is byte for byte what it was."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelrepo.cli.main import modelrepo as modelrepo_command
from modelrepo.cli.terminal import errors
from tests.conftest import GOLDENS, Generate, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")

UNDEFINED = "name: {{ name | pbtxt }}\n{{ nmae }}\n"
WRONG_FIELD = "name: {{ name | pbtxt }}\nbackend: {{ backend | pbtxt }}\nmax_batchsize: 4\n"
OTHER_NAME = 'name: "other"\nbackend: "onnxruntime"\n'


def write(path: str, text: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")

    return act


def wrong_samples(folder: Path) -> None:
    np.savez(folder / "s.npz", other=np.zeros((2, 4), "float32"), more=np.zeros((2, 4), "float32"))


def wrong_shape(folder: Path) -> None:
    np.save(folder / "s.npy", np.zeros((2, 5), "float32"))


def link_to_nowhere(folder: Path) -> None:
    (folder / "model_repository").symlink_to("nowhere")


def nothing(folder: Path) -> None:
    pass


LINEAR = "--model numpy:linear "
# name of the golden message: what is there first, the arguments, the exit code.
CASES: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "no-model": (nothing, "", 2),
    "name-escapes": (nothing, "--model ../x", 3),
    "name-has-slash": (nothing, "--model a/b", 3),
    "name-has-quote": (nothing, '--model x"y', 2),
    "name-is-hidden": (nothing, "--model .hidden", 3),
    "template-escapes": (nothing, LINEAR + "--name-template ../{model}", 2),
    "template-field": (nothing, LINEAR + "--name-template {modle}", 2),
    "template-collides": (nothing, LINEAR + "--backends onnx,tensorrt --name-template {model}", 2),
    "unknown-source": (nothing, "--model hub:resnet50", 3),
    "unknown-backend": (nothing, LINEAR + "--backends onnx,tensorr", 2),
    "no-backend": (nothing, LINEAR + "--backends=", 2),
    "batch-negative": (nothing, LINEAR + "--max-batch-size -1", 2),
    "batch-word": (nothing, LINEAR + "--max-batch-size many", 2),
    "batch-preferred": (nothing, LINEAR + "--max-batch-size 4 --preferred-batch-sizes 2,8", 2),
    "opset-too-new": (nothing, LINEAR + "--opset 99", 2),
    "opset-too-new-for-release": (nothing, LINEAR + "--opset 22 --target-release 24.10", 2),
    "opset-too-old": (nothing, LINEAR + "--opset 3", 2),
    "release-unknown": (nothing, LINEAR + "--target-release 19.01", 2),
    "instances": (nothing, LINEAR + "--instances tpu:1", 2),
    "instances-none": (nothing, LINEAR + "--instances gpu:0", 2),
    "version-policy": (nothing, LINEAR + "--version-policy newest", 2),
    "version-policy-absent": (nothing, LINEAR + "--version-policy specific:7", 2),
    "tolerance": (nothing, LINEAR + "--tolerance tight", 2),
    "tolerance-negative": (nothing, LINEAR + "--tolerance -1", 2),
    "seed": (nothing, LINEAR + "--seed 1.5", 2),
    "option-unknown": (nothing, LINEAR + "--max-batch 4", 2),
    "weights-missing": (nothing, LINEAR + "--weights nowhere.pth", 3),
    "patch-missing": (nothing, LINEAR + "--config-patch nowhere.pbtxt", 2),
    "patch-unknown-field": (write("p.pbtxt", "max_batch_sise: 4\n"), LINEAR + "--config-patch p.pbtxt", 2),
    "patch-other-name": (write("p.pbtxt", 'name: "other"\n'), LINEAR + "--config-patch p.pbtxt", 2),
    "templates-missing": (nothing, LINEAR + "--templates nowhere", 2),
    "templates-undefined": (write("t/config.pbtxt.j2", UNDEFINED), LINEAR + "--templates t", 2),
    "templates-syntax": (write("t/config.pbtxt.j2", "a\n{% if %}\n"), LINEAR + "--templates t", 2),
    "templates-wrong-field": (write("t/config.pbtxt.j2", WRONG_FIELD), LINEAR + "--templates t", 2),
    "templates-other-name": (write("t/config.pbtxt.j2", OTHER_NAME), LINEAR + "--templates t", 2),
    "samples-other-input": (wrong_samples, LINEAR + "--samples s.npz", 2),
    "samples-wrong-shape": (wrong_shape, LINEAR + "--samples s.npy", 2),
    "samples-garbage": (write("s.npz", "garbage"), LINEAR + "--samples s.npz", 2),
    "samples-empty-folder": (write("s/readme.txt", ""), LINEAR + "--samples s", 2),
    "repository-is-a-file": (write("model_repository", "a file"), LINEAR, 6),
    "repository-in-a-file": (write("file", "a file"), LINEAR + "--repository file/repository", 6),
    "repository-unwritable": (nothing, LINEAR + "--repository /proc/modelrepo/models", 6),
    "repository-link-to-nowhere": (link_to_nowhere, LINEAR, 6),
    "answers-nan": (nothing, "--model numpy:answers_nan", 5),
    "exported-wrong": (nothing, "--model numpy:exported_wrong", 5),
    "rounding-decides": (nothing, "--model numpy:lets_rounding_decide", 5),
    "toml-unknown-key": (write("modelrepo.toml", "max_batch_sise = 4\n"), LINEAR, 2),
    "toml-unknown-model-key": (write("modelrepo.toml", "[models.m]\nbackend = ['onnx']\n"), LINEAR, 2),
    "toml-wrong-kind": (write("modelrepo.toml", "max_batch_size = 'many'\n"), LINEAR, 2),
    "toml-wrong-flag": (write("modelrepo.toml", "verify = 'no'\n"), LINEAR, 2),
    "toml-invalid": (write("modelrepo.toml", "max_batch_size = = 4\n"), LINEAR, 2),
    "toml-models-no-table": (write("modelrepo.toml", "[models]\nresnet50 = 4\n"), LINEAR, 2),
    "toml-bad-name": (write("modelrepo.toml", '[models."a/b"]\n'), LINEAR, 2),
    "toml-missing": (nothing, LINEAR + "--config nowhere.toml", 2),
    "toml-run-key-in-model": (write("modelrepo.toml", "[models.m]\nrepository = 'r'\n"), LINEAR, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_line_and_changes_nothing(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None], case: str
) -> None:
    prepare, arguments, code = CASES[case]
    prepare(workdir)
    before = snapshot(workdir)
    outcome = generate(*arguments.split(), "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.code == code, outcome.err
    assert snapshot(workdir) == before
    golden(f"messages/{case}.txt", outcome.err.replace(str(workdir), "/work"))


def test_every_golden_message_has_its_case() -> None:
    goldens = GOLDENS / "messages"
    assert {path.stem for path in goldens.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize(
    "arguments", ["--model ../x", "--model numpy:exported_wrong", "--nonsense", "", "--quiet=1", "--queue-delay-us=x"]
)
def test_with_json_an_error_is_one_object_too(generate: Generate, arguments: str) -> None:
    outcome = generate(*arguments.split(), "--json", "-q")
    found = [outcome.report.get("error"), *(row.get("error") for row in outcome.report["results"])]
    (error,) = filter(None, found)
    assert error["exit_code"] == outcome.code != 0
    assert " ".join(error["message"].split()) in outcome.err


@pytest.mark.parametrize(
    "arguments",
    ["generate --json --backends", "serve --json --http-port", "nosuch --json", "plans nosuch --json", "--json"],
)
def test_with_json_a_command_line_that_click_refuses_is_one_object_too(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["modelrepo", *arguments.split()])
    assert errors.run(modelrepo_command, "modelrepo") == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert (error["exit_code"], error["message"] in captured.err) == (2, True)


def test_a_mount_point_is_refused_because_models_cannot_be_moved_into_it(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_memory = Path("/dev/shm")  # the one mount point that every Linux has
    if not shared_memory.is_mount():
        pytest.skip("/dev/shm is no mount point here")
    outcome = generate("--model", "numpy:linear", "--repository", str(shared_memory))
    assert outcome.code == 6
    assert "is a mount point" in outcome.err
    assert not (shared_memory / "linear").exists()


def test_messages_carry_no_traceback() -> None:
    for path in (GOLDENS / "messages").rglob("*.txt"):
        assert not re.search(r"Traceback|Error\(|<class", path.read_text()), path.name


def test_the_console_script_is_installed() -> None:
    assert shutil.which("generate", path=str(Path(sys.executable).parent))
