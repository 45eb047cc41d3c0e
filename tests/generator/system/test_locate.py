"""Finding a wheel with pip, with the real uv, or at the index itself, and downloading it, on this machine alone."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import environment, locate
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.download import fetch
from modelrepo.generator.system.indexes import configured
from tests.generator.system.package_index import FILE, IN_URLS, PASSWORD, REQUIREMENT, USER, Index, running, write_wheel

Way = Literal["pip", "uv", "index"]
WAYS: tuple[Way, ...] = ("pip", "uv", "index")
UV = environment.uv_command()


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of this machine."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "there")


@pytest.fixture
def index(wheel: Path) -> Iterator[Index]:
    with running(Index(wheel)) as found:
        yield found


def only(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an environment with one way."""
    if way == "uv" and not UV:
        pytest.skip("uv is not installed")
    monkeypatch.setattr(locate, "has_pip", lambda: way == "pip")
    monkeypatch.setattr(locate, "uv_command", lambda: UV if way == "uv" else ())


def name(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index)


def arrives(wheel: Path, folder: Path) -> None:
    url = locate.locate(REQUIREMENT, FILE)
    assert "@" not in url
    fetch(url, folder / FILE, sha256_of(wheel), Progress(), configured().opener())
    assert (folder / FILE).read_bytes() == wheel.read_bytes()


def refusal() -> str:
    with pytest.raises(SourceError) as caught:
        locate.locate(REQUIREMENT, FILE)
    return str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["json", "html"])
@pytest.mark.parametrize("secret", [False, True], ids=["open", "secret"])
def test_a_wheel_arrives_from_an_index(
    way: Way, kind: Literal["json", "html"], secret: bool, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(way, monkeypatch)
    with running(Index(wheel, kind, secret=secret)) as index:
        name(index.url, monkeypatch)
        arrives(wheel, tmp_path / "here")


@pytest.mark.parametrize("way", WAYS)
def test_an_index_behind_a_proxy_is_reached(
    way: Way, index: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(way, monkeypatch)
    name("http://index.test/simple", monkeypatch)
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.test")
    monkeypatch.setenv("http_proxy", f"http://{index.host}")
    arrives(wheel, tmp_path / "here")
    assert all(path.startswith("http://index.test/") for path in index.asked)


def test_the_proxy_of_pips_settings_is_used(
    index: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("index", monkeypatch)
    name("http://index.test/simple", monkeypatch)
    monkeypatch.setenv("PIP_PROXY", f"http://{index.host}")
    arrives(wheel, tmp_path / "here")


@pytest.mark.parametrize("way", WAYS)
def test_credentials_are_read_from_netrc(
    way: Way, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(way, monkeypatch)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    with running(Index(wheel, secret=True)) as index:
        name(f"http://{index.host}/simple", monkeypatch)
        arrives(wheel, tmp_path / "here")


def test_credentials_do_not_follow_to_another_server(
    wheel: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("index", monkeypatch)
    with running(Index(wheel, secret=True)) as secret:
        secret.elsewhere = f"http://{index.host}"
        name(secret.url, monkeypatch)
        arrives(wheel, tmp_path / "here")
    assert index.credentials == [None]


@pytest.mark.parametrize("way", WAYS)
def test_a_folder_is_an_index_too(way: Way, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(way, monkeypatch)
    (tmp_path / "simple/stand-in").mkdir(parents=True)
    (tmp_path / "simple/stand-in/index.html").write_text(f'<a href="../../there/{FILE}">{FILE}</a>')
    name((tmp_path / "simple").as_uri(), monkeypatch)
    arrives(wheel, tmp_path / "here")


@pytest.mark.parametrize("tool", ["PIP", "UV"])
@pytest.mark.parametrize("way", ["pip", "index"])
def test_a_folder_of_wheels_is_found_without_any_index(
    way: Way, tool: str, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(way, monkeypatch)
    monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    name("http://127.0.0.1:9/simple", monkeypatch)
    arrives(wheel, tmp_path / "here")


def test_an_index_that_only_pip_knows_is_asked_after_uv(
    index: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("uv", monkeypatch)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    arrives(wheel, tmp_path / "here")


@pytest.mark.parametrize("way", WAYS)
def test_no_message_has_credentials(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    only(way, monkeypatch)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        name(f"http://{IN_URLS}@127.0.0.1:{closed.getsockname()[1]}/simple", monkeypatch)
        said = refusal()
    assert f"can't find {REQUIREMENT}, is there a network? " in said
    assert USER not in said
    assert "word" not in said


@pytest.mark.parametrize("way", WAYS)
def test_wrong_credentials_are_told(way: Way, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(way, monkeypatch)
    with running(Index(wheel, secret=True)) as index:
        name(f"http://eve:guess@{index.host}/simple", monkeypatch)
        said = refusal()
    assert "guess" not in said
    assert "eve" not in said
    assert "401" in said or "Unauthorized" in said or "No matching distribution" in said


def test_what_is_not_an_index_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    only("index", monkeypatch)
    index.wheel, page = b"", index.page
    index.page = lambda: (page()[0], b"<html>sign in</html>")  # type: ignore[method-assign]
    name(index.url, monkeypatch)
    assert "it is not an index: " in refusal()


def test_an_index_without_the_file_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    only("index", monkeypatch)
    name(index.url, monkeypatch)
    with pytest.raises(SourceError, match=r"/simple: it is not there"):
        locate.locate("stand-in==2", "stand_in-2-py3-none-any.whl")


@pytest.mark.parametrize("garbage", ["http://[::1/simple", "http://127.0.0.1:port/simple", "simple", "gopher://a.test"])
def test_an_index_that_is_not_an_address_is_told(garbage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only("index", monkeypatch)
    name(garbage, monkeypatch)
    assert f"{garbage}: " in refusal()


def test_a_tool_that_does_not_start_is_told_and_the_index_asked(
    index: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("index", monkeypatch)
    (tmp_path / "uv").write_bytes(b"\x7fELF, but not for this processor")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setattr(locate, "uv_command", lambda: (str(tmp_path / "uv"),))
    name("http://127.0.0.1:9/simple", monkeypatch)
    assert "uv: its answer can't be read: [Errno 8] Exec format error" in refusal()
    name(index.url, monkeypatch)
    arrives(wheel, tmp_path / "here")


def test_settings_that_forbid_every_index_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    only("uv", monkeypatch)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert refusal() == "can't find stand-in==1: the settings of pip or uv forbid every index"


def test_uv_is_found_on_path_or_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.uv_command() == (str(program),)
    assert shutil.which("uv") == str(program)
