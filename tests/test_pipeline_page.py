"""The jobs of the page on pipelines: their YAML is read, their commands are parsed, and two of their steps are run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from modelrepo.cli.commands.generate import generate
from modelrepo.cli.main import modelrepo
from tests.conftest import PROJECT
from tests.served_models import write_repository

PAGE = (PROJECT / "docs/how-to/automate.md").read_text("utf-8")
PROGRAMS = {"generate": generate, "modelrepo": modelrepo}
# Other programs that the jobs call, which GitHub's and GitLab's machines have.
TOOLS = {"aws", "pip", "jq", "echo", "for", "case", "done", "exit", "code=0", "{", "}"}


def documents() -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def steps() -> dict[str, str]:
    """Return the scripts of the first job, by the name of their step."""
    listed = documents()[0]["jobs"]["publish"]["steps"]
    return {step["name"]: step["run"] for step in listed if "run" in step}


def commands() -> list[list[str]]:
    """Return every command of ours in the jobs and in the page's text, split into words."""
    quoted = re.findall(r"`((?:generate|modelrepo) [^`]+)`", PAGE)
    scripts = [*steps().values(), *documents()[1]["models"]["script"], *quoted]
    lines = [line.strip() for script in scripts for line in script.splitlines()]
    words = [shlex.split(re.split(r" > | \|\| | \| |;", line)[0]) for line in lines if line.startswith(tuple(PROGRAMS))]
    return [found for found in words if found]


def test_the_jobs_are_yaml_with_steps() -> None:
    github, gitlab = documents()
    assert github["jobs"]["publish"]["runs-on"] == "ubuntu-24.04"
    assert {"install", "fetch", "generate", "report", "publish", "outcome"} == set(steps())
    assert "generate --json --strict > report.json" in gitlab["models"]["script"]


def test_every_command_of_the_jobs_is_one_of_ours_or_a_known_tool() -> None:
    starts = {line.split()[0] for script in steps().values() for line in script.splitlines() if line[:1].isalpha()}
    assert starts <= TOOLS | set(PROGRAMS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_page_parses(words: list[str]) -> None:
    command: click.Command | None = PROGRAMS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group):
        command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
    assert command
    command.make_context(words[0], rest)


def test_the_options_that_the_text_names_exist() -> None:
    known = {option for each in generate.params for option in each.opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known


def run_steps(folder: Path) -> tuple[str, str]:
    """Run the steps that need no network in a folder; return what they hand on, and the summary."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    for name in ("generate", "report"):
        subprocess.run(["/bin/bash", "-e", "-c", steps()[name]], cwd=folder, env=environment, check=True)
    return (folder / "output").read_text(), (folder / "summary").read_text()


def test_the_job_reports_what_failed_and_ends_with_its_code(tmp_path: Path) -> None:
    served = write_repository(tmp_path / "served")
    (tmp_path / "good.onnx").write_bytes((served / "linear/1/model.onnx").read_bytes())
    (tmp_path / "bad.onnx").write_text("junk")
    (tmp_path / "modelrepo.toml").write_text(
        'live_check = "off"\n[models.good]\nmodel = "onnx:good.onnx"\n[models.bad]\nmodel = "onnx:bad.onnx"\n'
    )
    output, summary = run_steps(tmp_path)
    assert output == "code=3\n"
    assert summary == "- good: unchanged, version 1\n- bad: failed: bad.onnx is not an ONNX file. It is a text file\n"
    row = json.loads((tmp_path / "report.json").read_text())["results"][1]
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    example = json.loads(shown.replace("fraud", "bad"))
    assert row == {**example, "verification": row["verification"], "optimization": row["optimization"]}


def test_the_job_reports_a_run_that_did_not_start(tmp_path: Path) -> None:
    (tmp_path / "modelrepo.toml").write_text('nothing = "here"\n')
    output, summary = run_steps(tmp_path)
    assert output == "code=2\n"
    assert summary.startswith("- nothing was started: ")
