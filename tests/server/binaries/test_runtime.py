"""Fetching the local Triton: once, checked, and with one clear line if that is not possible."""

import os
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.digests import sha256_of
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.binaries.wheels import Wheel

Golden = Callable[[str, str], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start with an empty cache, and without a network: pip has no index to ask."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MODELREPO_CACHE", str(folder))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def wheel(folder: Path) -> Wheel:
    """Make a small stand-in for the wheel, which needs no network."""
    folder.mkdir(parents=True)
    file = folder / "stand_in-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pytriton/tritonserver/bin/tritonserver", "#!/bin/sh\n")
        archive.writestr("nvidia_pytriton.libs/lib.so", "")
        archive.writestr("pytriton/client.py", "")
    return replace(wheels.PYTRITON, requirement="stand-in==1", file=file.name, sha256=sha256_of(file))


def refusal(cache: Path) -> str:
    with pytest.raises(ServerError) as caught:
        runtime.ensure(Progress())
    assert caught.value.exit_code == 7
    return str(caught.value).replace(str(cache), "CACHE").replace(sys.executable, "PYTHON") + "\n"


def test_a_wheel_is_unpacked_once_and_only_what_the_server_needs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PYTRITON", wheel(cache / "wheels"))
    assert runtime.installed() is None
    triton = runtime.ensure(Progress())
    assert os.access(triton.binary, os.X_OK)
    assert not (triton.folder / "pytriton/client.py").exists()
    assert list((cache / "wheels").glob("*.whl"))  # put there by hand, and left there
    assert runtime.ensure(Progress()) == triton == runtime.installed()


def test_an_interrupted_unpacking_starts_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PYTRITON", wheel(cache / "wheels"))
    (cache / wheels.PYTRITON.folder / "half").mkdir(parents=True)
    triton = runtime.ensure(Progress())
    assert triton.binary.exists()
    assert not (triton.folder / "half").exists()


def test_a_wheel_with_other_content_is_refused(cache: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = wheel(cache / "wheels")
    monkeypatch.setattr(runtime, "PYTRITON", replace(stand_in, sha256="0" * 64))
    golden("messages/runtime/sha256.txt", refusal(cache).replace(stand_in.sha256, "SHA256"))
    assert runtime.installed() is None


def test_without_a_network_the_first_use_says_what_to_do(cache: Path, golden: Golden) -> None:
    golden("messages/runtime/no-network.txt", refusal(cache))


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.write_text("a file")
    assert "MODELREPO_CACHE" in refusal(cache)


def test_a_python_that_was_moved_after_it_was_built_has_its_library_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those that uv downloads: they name a folder of the machine that built them."""
    known = {"LIBDIR": "/install/lib", "INSTSONAME": "libpython3.12.so.1.0"}
    monkeypatch.setattr(sysconfig, "get_config_var", known.get)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert runtime.libpython() == Path("/install/lib/libpython3.12.so.1.0")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libpython3.12.so.1.0").touch()
    assert runtime.libpython() == tmp_path / "lib/libpython3.12.so.1.0"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("platform.system", lambda: "Darwin", "Linux x86_64 with glibc 2.35 or newer; this machine has Darwin x86_64"),
        ("platform.machine", lambda: "aarch64", "2.35 or newer; this machine has Linux aarch64"),
        ("os.confstr", lambda _: "glibc 2.31", "glibc 2.35 or newer; this machine has Linux x86_64, glibc 2.31"),
        ("os.confstr", lambda _: None, "no glibc"),
        ("sys.version_info", (3, 14, 0), "Python 3.11, 3.12, 3.13"),
        (
            "modelrepo.server.binaries.runtime.libpython",
            lambda: Path("nowhere/lib.so"),
            "shared library; this machine has no nowhere/lib.so",
        ),
    ],
)
def test_a_machine_that_cannot_run_it_is_an_error_with_the_reason(
    name: str, value: object, said: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.unsupported() is None
    monkeypatch.setattr(name, value)
    assert said in (runtime.unsupported() or "")
    assert "--runtime docker" in refusal(cache)
