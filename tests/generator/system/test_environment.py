"""The tool that manages an environment is recognized, and messages name its commands."""

import json
import sys
from pathlib import Path

import pytest

from modelrepo.generator.system import environment
from modelrepo.generator.system.environment import Environment, another, current, extra_command, into

PYTHON = f"--python {sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
RECEIPT = """[tool]
requirements = [
    { name = "modelrepo", extras = ["bench"], directory = "/src/modelrepo" },
    { name = "timm", specifier = ">=1" },
]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide an empty environment, without pip and uv."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(environment, "has_pip", lambda: False)
    monkeypatch.setattr(environment, "uv_command", lambda: ())
    return tmp_path


def test_an_environment_with_pip_is_pips(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "has_pip", lambda: True)
    assert extra_command("torch") == "pip install 'modelrepo[torch]'"
    assert current().installing("onnx", exact=True) == f"{sys.executable} -m pip install 'onnx'"


def test_an_environment_of_uv_is_uvs_even_if_uv_is_not_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.13.9\n")
    assert extra_command("torch") == "uv pip install 'modelrepo[torch]'"
    assert current().installing_extras(("hf", "timm"), exact=True) == (
        f"uv pip install --python {sys.executable} 'modelrepo[hf,timm]'"
    )


def test_without_pip_and_uv_another_pip_is_named(home: Path) -> None:
    assert extra_command("torch") == f"python3 -m pip --python {sys.executable} install 'modelrepo[torch]'"


def test_a_tool_of_uv_is_installed_again_with_what_it_had(home: Path) -> None:
    (home / "uv-receipt.toml").write_text(RECEIPT)
    again = f"uv tool install --force {PYTHON}"
    assert extra_command("torch") == f"{again} '/src/modelrepo[bench,torch]' --with 'timm>=1'"
    assert current().installing("onnx") == f"{again} '/src/modelrepo[bench]' --with 'timm>=1' --with 'onnx'"


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ("/src/modelrepo", "'/src/modelrepo[torch]'"),
        ("/src/modelrepo[bench]", "'/src/modelrepo[bench,torch]'"),
        ("modelrepo[torch]", "'modelrepo[torch]'"),
        ("git+https://code.test/modelrepo", "'modelrepo[torch] @ git+https://code.test/modelrepo'"),
        (
            "modelrepo[bench] @ git+https://code.test/modelrepo",
            "'modelrepo[bench,torch] @ git+https://code.test/modelrepo'",
        ),
    ],
)
def test_an_environment_of_pipx_is_installed_again_with_what_it_had(asked: str, command: str, home: Path) -> None:
    receipt = {
        "main_package": {"package": "modelrepo", "package_or_url": asked},
        "injected_packages": {"timm": {"package_or_url": "timm"}},
    }
    (home / "pipx_metadata.json").write_text(json.dumps(receipt))
    assert extra_command("torch") == f"pipx install --force {PYTHON} {command} && pipx inject modelrepo 'timm'"


def test_another_programs_environment_of_pipx_is_not_ours_to_make_again(home: Path) -> None:
    (home / "pipx_metadata.json").write_text(json.dumps({"main_package": {"package": "jupyter"}}))
    assert current() == Environment("none", sys.executable)


def test_a_receipt_that_cannot_be_read_counts_as_none(home: Path) -> None:
    (home / "uv-receipt.toml").write_text("[tool")
    assert current() == Environment("none", sys.executable)


def test_another_environment_is_made_with_the_same_tool(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert another("DIR", "x") == "python -m venv DIR && DIR/bin/python -m pip install 'x'"
    monkeypatch.setattr(environment, "uv_command", lambda: ("uv",))
    assert another("DIR", "x") == "uv venv DIR && uv pip install --python DIR/bin/python 'x'"
    assert into("/a/python", "x") == "uv pip install --python /a/python 'x'"
