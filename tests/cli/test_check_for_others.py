"""The pre-commit hook, the GitHub Action and the page about them."""

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
from tests.test_docs import pattern, steps

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


def environment(tmp_path: Path) -> dict[str, str]:
    """Return variables with which `modelrepo` is this project's."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    start = "from modelrepo.cli.entry import modelrepo; modelrepo()"
    (tools / "modelrepo").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{start}' \"$@\"\n")
    (tools / "modelrepo").chmod(0o755)
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "GITHUB_WORKSPACE": str(tmp_path)}


def test_the_hook_is_one_and_finds_configurations() -> None:
    manifest = PROJECT / ".pre-commit-hooks.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(manifest)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    (hook,) = yaml.safe_load(manifest.read_text("utf-8"))
    assert hook["entry"] == "modelrepo check"
    for path in ("config.pbtxt", "a/net/config.pbtxt", "a/net/configs/h100.pbtxt"):
        assert re.search(hook["files"], path)
    assert not re.search(hook["files"], "a/net/other.pbtxt")


def test_the_action_is_valid_and_its_steps_run(repository: Path, tmp_path: Path) -> None:
    action = yaml.safe_load((PROJECT / "action.yml").read_text("utf-8"))
    schemas = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor"
    schema: dict[str, Any] = json.loads((schemas / "github-actions.json").read_text("utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(action)
    (step,) = (each for each in action["runs"]["steps"] if each.get("name") == "check")
    given = {"PATHS": "model_repository\n", "ARGUMENTS": "--select DIM --strict"}
    run = subprocess.run(
        ["/bin/bash", "-ec", step["run"]], cwd=tmp_path, env={**environment(tmp_path), **given},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 6, run.stderr
    assert run.stdout.startswith("::error file=model_repository/net/config.pbtxt,line=3,col=55,title=DIM::")


def test_what_the_page_shows_is_what_happens(repository: Path, tmp_path: Path) -> None:
    ran = 0
    for command, shown in steps(PAGE):
        run = subprocess.run(
            ["/bin/bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        printed = "\n".join(line.rstrip() for line in run.stdout.rstrip("\n").splitlines())
        assert pattern(shown).fullmatch(printed), f"$ {command}\n{printed}"
        ran += 1
    assert ran


def test_the_python_of_the_page_runs(repository: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "model_repository/net/config.pbtxt:3:55 DIM Triton refuses the model" in run.stdout, run.stderr
