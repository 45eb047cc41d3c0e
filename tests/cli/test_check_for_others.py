"""The pre-commit hook, the GitHub Action and the page about them."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from tests.conftest import PROJECT

PAGE = PROJECT / "docs/how-to/check-a-repository.md"
TEXT = """name: "net"
backend: "light"
input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, 0 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 1 ] } ]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "model_repository/net/1").mkdir(parents=True)
    (tmp_path / "model_repository/net/config.pbtxt").write_text(TEXT)
    return tmp_path / "model_repository"


def environment(tmp_path: Path, tools: str = "bin") -> dict[str, str]:
    """Return variables with which `modelrepo` is this project's."""
    folder = tmp_path / tools
    folder.mkdir(exist_ok=True, parents=True)
    start = "from modelrepo.cli.entry import modelrepo; modelrepo()"
    (folder / "modelrepo").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{start}' \"$@\"\n")
    (folder / "modelrepo").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_WORKSPACE": str(tmp_path)}


@functools.cache
def hooks() -> dict[str, dict[str, Any]]:
    manifest = PROJECT / ".pre-commit-hooks.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(manifest)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    return {hook["id"]: hook for hook in yaml.safe_load(manifest.read_text("utf-8"))}


def run_hook(name: str, tmp_path: Path, *files: str) -> tuple[int, str]:
    """Run a hook as pre-commit does: its entry, and the changed files if it wants them."""
    hook = hooks()[name]
    passed = files if hook.get("pass_filenames", True) else ()
    run = subprocess.run(
        [*hook["entry"].split(), *passed], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    return run.returncode, run.stdout


@pytest.mark.parametrize("file", ["config.pbtxt", "labels.txt", "1/model.onnx", "configs/h100.pbtxt", "1/gone"])
def test_the_hook_checks_the_model_of_any_changed_file(file: str, repository: Path, tmp_path: Path) -> None:
    code, printed = run_hook("modelrepo-check", tmp_path, "README.md", f"model_repository/net/{file}")
    assert (code, "model_repository/net/config.pbtxt:3:55: error DIM" in printed) == (6, True)


def test_the_hook_passes_files_over_that_are_of_no_model(repository: Path, tmp_path: Path) -> None:
    assert run_hook("modelrepo-check", tmp_path, "README.md", "data/2024/x.csv") == (
        0,
        "nothing found in 0 models for Triton 26.09\n",
    )


def test_the_other_hook_checks_whole_repositories(repository: Path, tmp_path: Path) -> None:
    assert hooks()["modelrepo-check-repositories"]["always_run"]
    code, printed = run_hook("modelrepo-check-repositories", tmp_path, "README.md")
    assert (code, "error DIM" in printed) == (6, True)


def action() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text("utf-8"))
    return read


def run_action(tmp_path: Path, **given: str) -> "subprocess.CompletedProcess[str]":
    """Run the steps `sarif` and `check` of the action as a runner does, and return the last.

    A stand-in for GitHub's runner, which no package has: it knows the expressions of these steps, of which the last
    runs whatever becomes of the first.
    """
    inputs = {name: each.get("default", "") for name, each in action()["inputs"].items()} | given
    variables = environment(tmp_path, "temp/modelrepo/bin")
    variables |= {"RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    for step in action()["runs"]["steps"]:
        if step.get("name") not in ("sarif", "check"):
            continue
        if "inputs.code-scanning" in step["if"] and inputs["code-scanning"] != "true":
            continue
        own = {
            name: re.sub(r"\$\{\{ inputs\.(\S+) \}\}", lambda found: inputs[found[1]], value)
            for name, value in step["env"].items()
        }
        command = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        run = subprocess.run(command, cwd=tmp_path, env={**variables, **own}, capture_output=True, text=True)
    return run


def test_the_action_is_valid() -> None:
    schemas = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor"
    schema: dict[str, Any] = json.loads((schemas / "github-actions.json").read_text("utf-8"))
    assert list(jsonschema.validators.validator_for(schema)(schema).iter_errors(action())) == []


def test_the_action_annotates_lines_and_fails(repository: Path, tmp_path: Path) -> None:
    run = run_action(tmp_path, paths="model_repository\n\n", arguments="--select DIM\n  --strict\n")
    assert run.returncode == 6, run.stderr
    place = "model_repository/net/config.pbtxt"
    assert run.stdout.startswith(f"::error file={place},line=3,col=55,title=DIM::{place}:3:55: Triton refuses")
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("### modelrepo check: 1 error in 1 model for Triton 26.09\n\n| |")
    assert f"| error | <code>{place}:3:55</code> | DIM | Triton refuses" in summary


def test_the_action_writes_sarif_and_still_fails(repository: Path, tmp_path: Path) -> None:
    run = run_action(tmp_path, arguments="--select DIM", **{"code-scanning": "true"})
    assert (run.returncode, run.stdout[:7]) == (6, "::error")
    (result,) = json.loads((tmp_path / "temp/modelrepo.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "DIM"


def test_the_action_passes_what_is_right(repository: Path, tmp_path: Path) -> None:
    (repository / "net/config.pbtxt").write_text(TEXT.replace("3, 0", "3"))
    run = run_action(tmp_path, arguments="--select DIM", **{"code-scanning": "true"})
    assert (run.returncode, run.stdout) == (0, "nothing found in 1 model for Triton 26.09\n")


def test_the_action_says_what_can_not_be_checked(tmp_path: Path) -> None:
    run = run_action(tmp_path, **{"code-scanning": "true"})
    assert run.returncode == 6
    assert run.stderr.startswith("error: can't check model_repository: it is not there")


def test_the_python_of_the_page_runs(repository: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "model_repository/net/config.pbtxt:3:55: error DIM: Triton refuses the model" in run.stdout, run.stderr
    assert "DIM" in [each["code"] for each in json.loads(run.stdout.splitlines()[-1])]


def test_the_page_shows_what_the_hooks_and_the_action_take() -> None:
    page = PAGE.read_text("utf-8")
    config, workflow = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    assert [each["id"] for each in config["repos"][0]["hooks"]] == list(hooks())
    (given,) = (step["with"] for step in workflow["jobs"]["check"]["steps"] if "modelrepo" in step["uses"])
    assert set(given) <= set(action()["inputs"])
