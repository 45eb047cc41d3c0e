"""The indexes that the settings of pip and uv name, and the certificates for them."""

import os
from pathlib import Path

import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.system import download, indexes
from modelrepo.generator.system.indexes import PYPI, Indexes, configured, without_credentials

MIRROR, TEAM, OTHER = "https://mirror.test/simple", "https://team.test/simple", "https://other.test/simple"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start without settings, in an empty folder."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setattr(indexes, "ETC", tmp_path / "etc")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_settings_it_is_pypi() -> None:
    assert configured() == Indexes((PYPI,))


def test_pips_files_and_variables_override_each_other_in_its_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "system/pip/pip.conf", f"[global]\nindex-url = {OTHER}\nproxy = http://proxy.test:3128\n")
    write(home / "config/pip/pip.conf", f"[global]\nindex_url = {MIRROR}\ncert = /ca.pem\n[install]\nfind-links = /w\n")
    write(home / "venv/pip.conf", f"[global]\nextra-index-url =\n    {TEAM}\n    {OTHER}\n")
    found = configured()
    assert found == Indexes((MIRROR, TEAM, OTHER), ("/w",), "http://proxy.test:3128", (Path("/ca.pem"),))
    monkeypatch.setenv("PIP_INDEX_URL", OTHER)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", TEAM)
    assert configured().urls == (OTHER, TEAM)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert configured() == Indexes((OTHER, TEAM))


def test_a_broken_file_of_settings_counts_as_absent(home: Path) -> None:
    write(home / "config/pip/pip.conf", "index-url\n[global")
    write(home / "config/uv/uv.toml", "index-url = [")
    assert configured().urls == (PYPI,)


def test_uvs_files_override_each_other_in_its_order(home: Path) -> None:
    write(home / "config/uv/uv.toml", f'index-url = "{OTHER}"\nfind-links = ["/w"]\n')
    write(home / "pyproject.toml", f'[[tool.uv.index]]\nname = "team"\nurl = "{TEAM}"\n')
    write(home / "work/pyproject.toml", "[project]\nname = 'of another tool'\n")
    assert configured() == Indexes((OTHER, TEAM), ("/w",))
    write(
        home / "work/uv.toml",
        f'[[index]]\nurl = "{MIRROR}"\ndefault = true\n[[index]]\nurl = "{TEAM}"\nexplicit = true\n',
    )
    assert configured().urls == (MIRROR,)


def test_uvs_variables_override_its_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "config/uv/uv.toml", f'[pip]\nindex-url = "{OTHER}"\n')
    monkeypatch.setenv("UV_INDEX", f"team={TEAM} {OTHER}")
    monkeypatch.setenv("UV_INDEX_TEAM_USERNAME", "ann")
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "p@ss")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"corp={MIRROR}")
    assert configured().urls == (MIRROR, "https://ann:p%40ss@team.test/simple", OTHER)
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    assert configured().urls[0] == OTHER
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    assert configured().urls[0] == PYPI


@pytest.mark.parametrize("tool", ["PIP", "UV"])
def test_no_index_forbids_every_index(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{tool}_NO_INDEX", "true")
    monkeypatch.setenv("PIP_INDEX_URL", MIRROR)
    assert configured().urls == ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://ann:secret@mirror.test/simple/: 401", "at https://mirror.test/simple/: 401"),
        ("https://token@mirror.test", "https://mirror.test"),
        ("https://ann:p@ss@mirror.test/x", "https://mirror.test/x"),
        ("https://mirror.test/a@b", "https://mirror.test/a@b"),
    ],
)
def test_credentials_are_left_out_of_texts(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize("name", ["PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_cannot_be_read_are_named(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(home / "nowhere.pem"))
    with pytest.raises(SourceError, match=r"can't read the certificates in .*nowhere.pem: No such file"):
        download.opener()
