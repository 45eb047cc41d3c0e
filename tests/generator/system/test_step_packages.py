"""The packages of a step: those that are here need no installation, others get a folder of their own."""

import sys
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import process, step_packages
from modelrepo.generator.system.process import Finished
from modelrepo.generator.triton.releases import NEWEST, release_named
from modelrepo.server.running import docker
from modelrepo.server.running.handle import Ports
from modelrepo.server.running.spec import ServerSpec


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path))


def installing(monkeypatch: pytest.MonkeyPatch, code: int = 0, err: str = "") -> list[list[str]]:
    """Stand in for uv and pip; return the commands that are run."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Finished:
        commands.append(command)
        folder = Path(command[command.index("--target") + 1])
        folder.mkdir(parents=True)
        (folder / "mine.py").touch()
        return Finished(tuple(command), code, "", err)

    monkeypatch.setattr(process, "run", run)
    return commands


@pytest.mark.parametrize(
    "requirement", ["numpy", "NumPy>=1", "numpy; python_version > '3'", "nosuch; python_version < '3'"]
)
def test_what_this_python_has_is_not_installed(requirement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = installing(monkeypatch)
    assert step_packages.ensure([requirement], "mine") == ()
    assert not commands


@pytest.mark.parametrize("requirement", ["numpy<1", "nosuch", "numpy[extra]", "nosuch @ file:///nosuch.whl"])
def test_what_it_lacks_is_installed_once_into_a_folder_of_its_own(
    requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = installing(monkeypatch)
    (folder,) = step_packages.ensure([requirement], "mine")
    assert step_packages.ensure([requirement], "another") == (folder,)
    assert len(commands) == 1
    assert commands[0][-1] == requirement
    assert (Path(folder) / "mine.py").is_file()
    assert step_packages.found([requirement]) == (folder,)
    assert step_packages.folder([requirement, "other"]) != Path(folder)


def test_a_failed_installation_is_one_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installing(monkeypatch, 1, "trying\nERROR: no matching distribution found for nosuch\n")
    with pytest.raises(ServerError) as failed:
        step_packages.ensure(["nosuch"], "mine")
    assert failed.value.message == "can't install nosuch for step 'mine': no matching distribution found for nosuch"
    assert sys.executable in failed.value.hint
    assert not list((tmp_path / "packages").iterdir())
    assert step_packages.found(["nosuch"]) is None


def test_without_uv_and_pip_the_requirement_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_packages, "uv_command", lambda: ())
    monkeypatch.setattr(step_packages, "has_pip", lambda: False)
    with pytest.raises(ServerError, match="step 'mine' needs nosuch, and neither uv nor pip is here to install it"):
        step_packages.ensure(["nosuch"], "mine")


def test_a_file_of_requirements_may_have_comments(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# mine\n\npillow\n")
    assert step_packages.read(tmp_path) == ("pillow",)
    assert step_packages.read(tmp_path / "elsewhere") == ()


def test_a_container_without_the_packages_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "available", lambda: True)
    (tmp_path / "decode/1").mkdir(parents=True)
    (tmp_path / "decode/1/requirements.txt").write_text("pillow\n")
    (tmp_path / "net/1").mkdir(parents=True)
    with pytest.raises(ServerError, match=r"decode needs pillow, which .* lacks"):
        docker.launch(served(tmp_path), tmp_path, Progress())
    assert docker.launch(served(tmp_path, "net"), tmp_path, Progress()).command[0] == "docker"


def served(repository: Path, *models: str) -> ServerSpec:
    return ServerSpec(
        repository,
        "docker",
        "explicit" if models else "none",
        models,
        Ports(1, 2, 3),
        15,
        release_named(NEWEST),
        cpu_overlay=False,
        auto_complete=False,
        graceful=False,
    )
