"""Finding perf_analyzer: on PATH, in NVIDIA's wheel, or in a container, each really started if that is possible.

Two tests download the wheels (80 MB) from the index that pip is configured for.
"""

import os
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelrepo.generator.errors import PerfError
from modelrepo.generator.progress import Listener, Progress
from modelrepo.generator.system import process
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.triton.releases import RELEASES
from modelrepo.perf.analyzer import find as analyzer
from modelrepo.perf.analyzer.find import Analyzer, Way
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.binaries.wheels import Wheel
from tests.conftest import PROJECT

Golden = Callable[[str, str], None]
RELEASE = RELEASES["26.09"]
needs_the_platform = pytest.mark.skipif(
    not runtime.platform_requirement().ok, reason="NVIDIA's wheels don't run on this machine"
)


class Warnings(Listener):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start with an empty cache and an empty folder for programs, the only one on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(cache: Path, name: str, script: str) -> Path:
    """Put a script on PATH."""
    file = cache.parent / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def stand_in_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch, script: str = "echo started") -> Wheel:
    """Put a small stand-in for the wheel at the path for one downloaded by hand; it needs no other."""
    file = cache / "wheels/stand_in-1-py3-none-any.whl"
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(wheels.PERF_ANALYZER.members[0], f"#!/bin/sh\n{script}\n")
        archive.writestr("tritonclient/__init__.py", "")
    wheel = replace(
        wheels.PERF_ANALYZER, requirement="stand-in==1", file=file.name, sha256=sha256_of(file), needs=(), links=()
    )
    monkeypatch.setattr(runtime, "perf_analyzer_wheel", lambda: wheel)
    return wheel


def other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("os.confstr", lambda _: "glibc 2.39")


def find(which: Way = "auto", listener: Listener | None = None) -> Analyzer:
    return analyzer.find(which, Path("/measurements"), Progress(listener), RELEASE)


def refusal(which: Way = "auto") -> str:
    with pytest.raises(PerfError) as caught:
        find(which)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    return f"{caught.value}\n"


# --- PATH


@pytest.mark.parametrize("which", ["auto", "path"])
def test_the_one_on_path_is_taken(which: Way, cache: Path) -> None:
    file = program(cache, "perf_analyzer", "echo 'Perf Analyzer Version 2.60.0 (commit 1a2b3c)'")
    assert find(which) == Analyzer((str(file),), {}, "PATH", "2.60.0")


def test_a_path_without_one_is_an_error(cache: Path) -> None:
    assert "no perf_analyzer on PATH" in refusal("path")


@needs_the_platform
@pytest.mark.parametrize("broken", ["echo 'libb64.so.0d: no such file' >&2; exit 127", "kill -ILL $$"])
def test_one_on_path_that_cannot_start_is_skipped_with_a_warning(
    broken: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    file = program(cache, "perf_analyzer", broken)
    listener = Warnings()
    assert find(listener=listener).origin == f"wheel {wheel.requirement}"
    (warning,) = listener.warnings
    assert warning.startswith(f"{file} can't start: ")
    assert f"{file} can't start: " in refusal("path")


def test_one_on_path_that_is_not_a_program_is_an_error(cache: Path) -> None:
    file = program(cache, "perf_analyzer", "")
    file.write_bytes(b"\x7fELF, but not for this processor")
    assert "can't start: Exec format error" in refusal("path")


def test_one_on_path_that_hangs_is_not_waited_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(cache, "perf_analyzer", "exec /bin/sleep 600")
    monkeypatch.setattr(analyzer, "START_SECONDS", 0.2)
    assert "can't start: no answer" in refusal("path")


# --- the wheel


@needs_the_platform
def test_nvidias_own_is_fetched_into_an_empty_cache_and_starts(cache: Path) -> None:
    wheel = runtime.perf_analyzer_wheel()
    found = find("wheel")
    assert found.origin == f"wheel {wheel.requirement}"
    assert found.version == wheel.version  # it says "Version  (commit unknown)", or "Version 0.0.0"
    usage = process.run([*found.command, "--nonsense"], timeout=60, environment={**os.environ, **found.environment})
    assert "nonsense" in usage.err + usage.out
    home = cache / wheel.folder
    links = {path.name for path in home.rglob("*") if path.is_symlink()}
    assert links == {name for name, _ in wheel.links}
    assert all((home / link).exists() for link in links)
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.name for path in files} == {"perf_analyzer", "complete"}
    assert not list(cache.rglob("*.whl"))
    assert find() == found


@needs_the_platform
def test_the_wheel_for_other_machines_holds_its_program_too(cache: Path) -> None:
    here = runtime.perf_analyzer_wheel()
    (other,) = {wheels.PERF_ANALYZER, wheels.OLD_PERF_ANALYZER} - {here}
    unpacked = wheels.ensure(replace(other, needs=(), links=()), Progress())
    assert os.access(unpacked / other.members[0], os.X_OK)


@pytest.mark.parametrize(("glibc", "version"), [("2.35", "2.50.0"), ("2.37", "2.50.0"), ("2.38", "2.60.0")])
def test_the_newest_that_the_c_library_can_run_is_chosen(
    glibc: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.confstr", lambda _: f"glibc {glibc}")
    assert runtime.perf_analyzer_wheel().version == version


@needs_the_platform
def test_a_wheel_that_calls_itself_0_0_0_has_its_own_version(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = stand_in_wheel(cache, monkeypatch, "echo 'Perf Analyzer Version 0.0.0 (commit 3a49a23)'")
    found = find("wheel")
    assert (found.version, found.environment) == (wheel.version, {})


@needs_the_platform
def test_a_wheel_that_another_needs_is_fetched_again_if_it_is_gone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    needed = replace(wheel, name="needed")
    library = f"../{needed.folder}/{needed.members[0]}"
    wheel = replace(wheel, needs=(needed,), links=(("library", library),))
    monkeypatch.setattr(runtime, "perf_analyzer_wheel", lambda: wheel)
    find("wheel")
    shutil.rmtree(cache / needed.folder)
    assert not wheels.installed(wheel)
    find("wheel")
    assert (cache / wheel.folder / "library").exists()


@needs_the_platform
def test_several_at_once_get_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(wheels.ensure(wheel, Progress()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache / wheel.folder] * 4


@needs_the_platform
def test_files_of_a_killed_run_are_used_and_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    (cache / f"{wheel.folder}.1a2b").mkdir()
    (cache / "wheels/fetched").mkdir()
    (cache / "wheels" / wheel.file).rename(cache / "wheels/fetched" / wheel.file)
    find("wheel")
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {"wheels", wheel.folder}
    assert not list(cache.rglob("*.whl"))


@needs_the_platform
def test_a_wheel_put_there_by_hand_is_left_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    find("wheel")
    assert wheels.by_hand(wheel).exists()


@needs_the_platform
def test_a_wheel_with_other_content_is_refused(cache: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = stand_in_wheel(cache, monkeypatch)
    monkeypatch.setattr(runtime, "perf_analyzer_wheel", lambda: replace(wheel, sha256="0" * 64))
    said = refusal("wheel").replace(str(cache), "CACHE").replace(wheel.sha256, "SHA256")
    golden("messages/analyzer/sha256.txt", said)


@needs_the_platform
def test_without_a_network_the_first_use_says_what_to_do(
    cache: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel = replace(wheels.OLD_PERF_ANALYZER, needs=())
    monkeypatch.setattr(runtime, "perf_analyzer_wheel", lambda: wheel)
    golden("messages/analyzer/no-network.txt", refusal("wheel").replace(str(cache), "CACHE"))


@needs_the_platform
def test_a_wheel_that_cannot_start_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_wheel(cache, monkeypatch, "echo 'libssl.so.3: no such file' >&2; exit 127")
    assert "can't start: libssl.so.3: no such file" in refusal()


def test_a_machine_that_cannot_run_the_wheel_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_machine(monkeypatch)
    assert "this machine has Linux aarch64, glibc 2.39" in refusal("wheel")
    assert not cache.exists()


# --- the container


def test_the_command_of_the_container_reaches_a_stand_in_for_docker(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_machine(monkeypatch)
    program(cache, "docker", 'for word in "$@"; do echo "$word"; done')
    found = analyzer.find("auto", tmp_path, Progress(), RELEASE)
    assert found.origin == "container nvcr.io/nvidia/tritonserver:26.09-py3-sdk"
    said = process.run([*found.command, "-m", "linear"], timeout=60)
    assert shlex.join(said.out.splitlines()) == (
        "run --rm --init --network host --ipc host "
        f"--user {os.getuid()}:{os.getgid()} --security-opt no-new-privileges:true "
        f"-v {tmp_path}:{tmp_path} -w {tmp_path} -e HOME=/tmp "
        "--entrypoint perf_analyzer nvcr.io/nvidia/tritonserver:26.09-py3-sdk -m linear"
    )


def test_a_container_needs_docker(cache: Path) -> None:
    assert "no docker here" in refusal("container")


# --- nothing


def test_without_any_one_line_names_the_ways_to_get_one(
    cache: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_machine(monkeypatch)
    golden("messages/analyzer/nothing.txt", refusal())


def test_an_extra_that_is_missing_ends_a_measurement_as_one() -> None:
    script = (
        "import sys; sys.modules['psutil'] = None\n"
        "from modelrepo.generator.errors import PerfError; from modelrepo.generator.system.extras import BENCH, need\n"
        "try: need('psutil', BENCH)\n"
        "except PerfError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert run.stdout == "psutil is not installed. pip install 'modelrepo[bench]'\n"
