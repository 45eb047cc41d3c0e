"""`modelrepo doctor`: its findings on this machine and on incomplete machines, and its output."""

import errno
import json
import os
import platform
import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelrepo.cli.commands import doctor as command
from modelrepo.cli.terminal import errors
from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.environment import Environment
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.binaries.runtime import Requirement
from modelrepo.server.doctor import machine
from modelrepo.server.doctor.doctor import Check, judge
from modelrepo.server.doctor.machine import Cache, Docker, Facts, PerfAnalyzer, look
from tests.conftest import PROJECT, Outcome

EXECUTABLE = "/home/ann/modelrepo/.venv/bin/python3"
GLIBC, PYTHONS, LIBPYTHON = (requirement.needed for requirement in runtime.requirements())
COMPLETE = Facts(
    requirements=(
        Requirement("platform", "Linux x86_64, glibc 2.39", GLIBC, ok=True),
        Requirement("python", f"3.12.4, {EXECUTABLE}", PYTHONS, ok=True),
        Requirement("libpython", "/usr/lib/libpython3.12.so.1.0", LIBPYTHON, ok=True),
    ),
    python="3.12",
    environment=Environment("pip", EXECUTABLE),
    uv=False,
    packages={
        "pip": "24.0", "onnxruntime": "1.30.0", "tritonclient": "2.60.0", "torch": "2.9.0", "torchvision": "0.24.0",
        "tensorrt": "10.12.0",
    },
    lacking={extra.name: () for extra in machine.EXTRAS},
    cache=Cache(Path("/home/ann/.cache/modelrepo"), 149_000_000, 80_000_000_000, obstacle=""),
    wheel=False,
    triton="2.51.0",
    ports={8000: False, 8001: False, 8002: False},
    shared_memory=(16_000_000_000, 16_000_000_000),
    perf_analyzer=PerfAnalyzer("/usr/local/bin/perf_analyzer", "", fetched=False, downloaded=False),
    docker=Docker("28.2.2", "28.2.2", "", "2.36.2", nvidia=True),
    gpu=True,
    gpu_names=("NVIDIA L4", "NVIDIA L4"),
    driver="570.86.15",
    trtexec=None,
)  # fmt: skip
BARE = replace(
    COMPLETE,
    requirements=(
        Requirement("platform", "Linux aarch64, glibc 2.31", GLIBC, ok=False),
        Requirement("python", f"3.14.0, {EXECUTABLE}", PYTHONS, ok=False),
        Requirement("libpython", "no /usr/lib/libpython3.14.so.1.0", LIBPYTHON, ok=False),
    ),
    python="3.14",
    packages=dict.fromkeys(COMPLETE.packages),
    lacking={extra.name: extra.modules for extra in machine.EXTRAS},
    cache=Cache(Path("/home/ann/.cache/modelrepo"), 0, 10_000_000, obstacle=""),
    triton=None,
    ports={8000: True, 8001: False, 8002: True},
    shared_memory=None,
    perf_analyzer=PerfAnalyzer(None, "", fetched=False, downloaded=False),
    docker=Docker(None, None, "", None, nvidia=False),
    gpu=False,
    gpu_names=(),
    driver=None,
)
Doctor = Callable[..., Outcome]


@pytest.fixture
def run_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["doctor", *arguments])
        code = errors.run(command.doctor, "doctor")
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def check(name: str, facts: Facts | None = None) -> Check:
    (found,) = (each for each in judge(facts or look()) if each.name == name)
    return found


# --- how it says so


@pytest.mark.parametrize(("name", "facts"), [("complete", COMPLETE), ("bare", BARE)])
def test_the_table_is_as_agreed(
    name: str, facts: Facts, run_doctor: Doctor, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "look", lambda: facts)
    outcome = run_doctor()
    golden(f"doctor/{name}.txt", outcome.out + outcome.err)
    assert outcome.code == (7 if facts is BARE else 0)


def test_json_holds_the_same_checks(run_doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "look", lambda: BARE)
    outcome = run_doctor("--json")
    checks = outcome.report["checks"]
    assert [row["name"] for row in checks] == [each.name for each in judge(BARE)]
    assert all([*row] == ["name", "status", "found", "disables", "next_step"] for row in checks)
    assert outcome.code == 7
    assert outcome.err.startswith("error: the local server can't run here: platform: ")


def test_whatever_is_not_ok_says_what_it_disables_and_what_to_do() -> None:
    assert {each.status for each in judge(COMPLETE)} == {"ok"}
    for each in judge(BARE):
        assert each.status != "ok"
        assert each.disables
        assert each.next_step


def test_colours_are_for_terminals_only(run_doctor: Doctor) -> None:
    assert "\x1b" not in run_doctor().out


# --- what it finds


def test_it_is_right_about_this_machine(run_doctor: Doctor) -> None:
    outcome = run_doctor("--json")
    assert outcome.code == (7 if runtime.unsupported() else 0)
    found = {row["name"]: row for row in outcome.report["checks"]}
    assert found["python"]["found"].startswith(platform.python_version())
    assert (found["triton"]["status"] == "ok") == (runtime.installed() is not None)
    assert (found["gpu"]["status"] == "ok") == (any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists())


def test_an_empty_cache_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_doctor: Doctor) -> None:
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path / "cache"))
    outcome = run_doctor("--json")
    found = {row["name"]: row for row in outcome.report["checks"]}
    assert (found["triton"]["status"], found["triton"]["found"]) == ("missing", "not fetched yet")
    assert found["cache"]["found"] == f"{tmp_path / 'cache'}, 0 MB"
    assert not (tmp_path / "cache").exists()
    assert outcome.code == (7 if runtime.unsupported() else 0)  # it can be fetched


def test_a_cache_that_is_not_a_folder_stops_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path / "file"))
    assert check("cache").stops_server
    assert check("cache").found == f"{tmp_path / 'file'} is not a folder"


@pytest.mark.parametrize("cache", [".", "below"])
def test_a_cache_that_may_not_be_entered_stops_the_server(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_doctor: Doctor
) -> None:
    closed = tmp_path / "closed"
    (closed / cache).mkdir(parents=True)
    monkeypatch.setenv("MODELREPO_CACHE", str(closed / cache))
    with not_to_be_entered(closed, monkeypatch):
        assert runtime.installed() is None
        outcome = run_doctor()
        assert outcome.code == 7
        assert f"cache: {closed} may not be entered" in outcome.err
        with pytest.raises(ServerError, match=f"can't store Triton in {closed}.*: Permission denied"):
            runtime.ensure(Progress())


@contextmanager
def not_to_be_entered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close a folder; root may enter any folder, so for root system calls are made to fail as for others."""
    folder.chmod(0o000)
    with monkeypatch.context() as patch:
        if os.geteuid() == 0:
            patch.setattr(os, "access", lambda path, _: Path(path) != folder)
            for name in ("stat", "lstat", "open", "mkdir", "scandir"):
                patch.setattr(os, name, refusing(getattr(os, name), folder))
        try:
            yield
        finally:
            folder.chmod(0o700)


def refusing(call: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(path, str | Path) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return call(path, *arguments, **options)

    return refuse


def test_the_size_of_the_cache_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / wheels.PYTRITON.file).write_bytes(b"x" * 3_000_000)
    assert check("cache").found == f"{tmp_path}, 3 MB"
    assert check("triton").found == "downloaded, not unpacked yet"


def test_without_pip_the_server_is_found_in_another_way() -> None:
    without = replace(COMPLETE, packages={**COMPLETE.packages, "pip": None}, triton=None)
    assert not check("pip", without).stops_server
    assert check("pip", without).disables == "nothing: the package index is asked for Triton and perf_analyzer"
    assert check("pip", replace(without, uv=True)).disables == "nothing: uv finds Triton and perf_analyzer"


def test_steps_are_commands_of_the_tool_that_manages_the_environment() -> None:
    bare = replace(BARE, environment=Environment("uv", EXECUTABLE))
    assert check("torch", bare).next_step == f"uv pip install --python {EXECUTABLE} 'modelrepo[torch]'"
    assert check("onnxruntime", bare).next_step == f"uv pip install --python {EXECUTABLE} 'onnxruntime'"


def no_shared_library(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    own = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(folder) if name == "LIBDIR" else own(name))
    monkeypatch.setattr(sys, "base_prefix", str(folder))


MACHINES: dict[str, tuple[str, Callable[[pytest.MonkeyPatch, Path], Any]]] = {
    "python without a shared library": ("libpython", no_shared_library),
    "another processor": ("platform", lambda patch, _: patch.setattr(platform, "machine", lambda: "aarch64")),
    "an old glibc": ("platform", lambda patch, _: patch.setattr(os, "confstr", lambda _: "glibc 2.31")),
    "another libc": ("platform", lambda patch, _: patch.setattr(os, "confstr", lambda _: None)),
    "an unknown python": ("python", lambda patch, _: patch.setattr(runtime, "PYTHONS", ((3, 9),))),
}


@pytest.mark.parametrize("lacking", MACHINES)
def test_a_machine_that_the_runtime_refuses_exits_with_7(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_doctor: Doctor
) -> None:
    name, change = MACHINES[lacking]
    assert not check(name).stops_server
    change(monkeypatch, tmp_path)
    outcome = run_doctor()
    assert outcome.code == 7
    assert f"the local server can't run here: {name}: {check(name).found}" in outcome.err
    assert (runtime.unsupported() or "").endswith(f"; this machine has {check(name).found}")


def test_a_port_in_use_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken, socket.socket() as free:
        for each in (taken, free):
            each.bind(("127.0.0.1", 0))
        taken.listen()
        ports = (taken.getsockname()[1], free.getsockname()[1])
        free.close()
        monkeypatch.setattr(machine, "PORTS", ports)
        assert check("ports").status == "problem"
        assert check("ports").found == f"{ports[0]} in use, {ports[1]} free"
    assert check("ports").status == "ok"


def test_little_shared_memory_is_a_problem_none_stops_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = check("shared memory", replace(COMPLETE, shared_memory=(64 * 2**20, 2**20)))
    assert (little.status, little.found, little.stops_server) == ("problem", "1 MB of 67 MB free", False)
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path / "none")
    assert check("shared memory").stops_server


def test_without_docker_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path / "cache"))
    for name in ("docker", "docker compose", "docker with GPUs", "perf_analyzer"):
        assert check(name).status == "missing"
        assert not check(name).stops_server


OTHER_PROCESSOR = (replace(COMPLETE.requirements[0], ok=False), *COMPLETE.requirements[1:])


@pytest.mark.parametrize(
    ("changes", "status", "found", "disables"),
    [
        ({}, "missing", "not on PATH", "nothing: the first `modelrepo bench` downloads 7 MB"),
        ({"downloaded": True}, "missing", "not on PATH", "nothing: the first `modelrepo bench` unpacks"),
        ({"fetched": True}, "ok", "in the cache, from perf-analyzer==2.60.0", ""),
        ({"fetched": True, "requirements": OTHER_PROCESSOR}, "missing", "not on PATH", "nothing: .* SDK container"),
        ({"requirements": OTHER_PROCESSOR, "docker": BARE.docker}, "missing", "not on PATH", "`modelrepo bench`"),
        ({"on_path": "/bin/p", "silence": "no libb64", "fetched": True}, "problem", "/bin/p can't start: no libb64",
         "nothing: `modelrepo bench` uses the one in the cache"),
    ],
)  # fmt: skip
def test_the_origin_of_a_perf_analyzer_is_shown(
    changes: dict[str, Any], status: str, found: str, disables: str
) -> None:
    machine_wide = {key: changes.pop(key) for key in ("requirements", "docker") if key in changes}
    facts = replace(COMPLETE, perf_analyzer=replace(BARE.perf_analyzer, **changes), **machine_wide)
    row = check("perf_analyzer", facts)
    assert (row.status, row.found, row.stops_server) == (status, found, False)
    assert re.match(disables, row.disables)


def test_a_perf_analyzer_that_cannot_start_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "perf_analyzer").write_text(
        "#!/bin/sh\necho 'libb64.so.0d: cannot open shared object file' >&2\nexit 127\n"
    )
    (tmp_path / "perf_analyzer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "PATIENCE", 60.0)
    row = check("perf_analyzer")
    assert row.status == "problem"
    assert row.found == f"{tmp_path}/perf_analyzer can't start: libb64.so.0d: cannot open shared object file"


def test_a_perf_analyzer_in_the_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    needed = runtime.perf_analyzer_wheel()
    for wheel in (*needed.needs, needed):
        assert check("perf_analyzer").status == "missing"
        (tmp_path / wheel.folder).mkdir()
        (tmp_path / wheel.folder / "complete").touch()
    assert check("perf_analyzer").status == "ok"


def stand_in_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, patience: float = 60.0) -> None:
    """Put a script on PATH as docker, with enough patience for a busy machine unless a test needs little."""
    (folder / "docker").write_text(f"#!/bin/sh\n{script}")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "PATIENCE", patience)


def test_a_stand_in_for_docker_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = (
        'case "$*" in\n'
        "  *Client*|*Server*) echo 28.2.2;;\n"
        "  compose*) echo 2.36.2;;\n"
        """  info*) echo '{"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}}';;\n"""
        "esac\n"
    )
    stand_in_docker(tmp_path, monkeypatch, answers)
    assert check("docker").found == "client 28.2.2, daemon 28.2.2"
    assert check("docker compose").found == "2.36.2"
    assert check("docker with GPUs").status == "ok"


def test_a_stand_in_for_docker_without_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'case "$*" in *Client*) echo 28.2.2;; esac\necho "Cannot connect to the daemon" >&2\nexit 1\n'
    stand_in_docker(tmp_path, monkeypatch, script)
    assert check("docker").status == "problem"
    assert check("docker").found == "client 28.2.2, no daemon: Cannot connect to the daemon"
    assert check("docker compose").status == "missing"


def test_a_docker_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_docker(tmp_path, monkeypatch, "exec sleep 600\n", patience=0.3)
    start = time.monotonic()
    found = check("docker")
    assert time.monotonic() - start < 60  # a tenth of what docker takes, and plenty for a busy machine
    assert found.status == "problem"
    assert "no answer within" in found.found


def test_docker_is_asked_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asked").mkdir()
    wait_for_the_others = f"cd {tmp_path}/asked; touch $$; until [ $(ls | wc -l) = 4 ]; do sleep 0.01; done\n"
    stand_in_docker(tmp_path, monkeypatch, f"{wait_for_the_others}echo 28.2.2\n")
    assert check("docker").found == "client 28.2.2, daemon 28.2.2"


def test_a_gpu_is_named_with_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus/0000:01:00.0/information").write_text("Model: \t\t NVIDIA H200\nIRQ:   \t\t 94\n")
    (tmp_path / "version").write_text("570.86.15\n")
    monkeypatch.setattr(machine, "gpu_present", lambda: True)
    monkeypatch.setattr(machine, "GPUS", tmp_path / "gpus")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    assert check("gpu").found == "NVIDIA H200, driver 570.86.15"


def test_it_imports_nothing_heavy() -> None:
    script = (
        "import sys; from modelrepo.cli.commands import doctor; from modelrepo.cli.terminal import errors\n"
        "sys.argv = ['doctor', '--json']\n"
        "errors.run(doctor.doctor, 'doctor')\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'onnxruntime', 'tritonclient', 'numpy', 'grpc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["checks"]
