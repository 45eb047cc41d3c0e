"""The facts about this machine that `modelrepo doctor` judges.

``look`` downloads nothing, changes nothing, and waits for no program longer than ``PATIENCE``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.errors import ServerError
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.sources.catalogue import missing
from modelrepo.generator.system import process
from modelrepo.generator.system.environment import Environment, current, uv_command
from modelrepo.generator.system.extras import BOOSTING, TORCH, version_of
from modelrepo.generator.tensorrt.machine import gpu_present
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.binaries.wheels import PERF_ANALYZER, PYTRITON, Wheel
from modelrepo.server.running.handle import Ports
from modelrepo.server.running.spec import choose_ports

PATIENCE = 1.0
PORTS = (8000, 8001, 8002)
PACKAGES = ("pip", "onnxruntime", "tritonclient", "torch", "torchvision", "tensorrt")
# The extras of the sources other than torch, which has a check of its own.
NEEDED = dict.fromkeys(extra for source in SOURCES.values() for extra in source.extras)
EXTRAS = (*(extra for extra in NEEDED if extra is not TORCH), BOOSTING)
TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - shared by Triton and its Python-based backends
DRIVER = Path("/sys/module/nvidia/version")
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Cache:
    """The cache folder, its size, and the free room on its disk.

    ``obstacle`` says why nothing can be stored there, or is empty.
    """

    folder: Path
    size: int
    free: int
    obstacle: str


@dataclass(frozen=True)
class Docker:
    """The versions of docker's parts, None if one is missing; ``silence`` says why the daemon does not answer."""

    client: str | None
    daemon: str | None
    silence: str
    compose: str | None
    nvidia: bool


@dataclass(frozen=True)
class PerfAnalyzer:
    """The perf_analyzer on PATH, with ``silence`` if it can't start, and that of the ``wheel`` for this machine.

    In the cache it is ``fetched``, or ``downloaded`` by hand and not unpacked yet.
    """

    on_path: str | None
    silence: str
    fetched: bool
    downloaded: bool
    wheel: Wheel = PERF_ANALYZER


@dataclass(frozen=True)
class Facts:
    """The facts about a machine."""

    requirements: tuple[runtime.Requirement, ...]
    python: str  # major and minor version, as Debian names its packages
    environment: Environment
    uv: bool  # whether uv can be asked for packages
    packages: Mapping[str, str | None]
    lacking: Mapping[str, tuple[str, ...]]  # the packages that are missing, by the extra of a source
    cache: Cache
    wheel: bool  # downloaded by hand, not unpacked yet
    triton: str | None
    ports: Mapping[int, bool]  # whether a program listens there
    shared_memory: tuple[int, int] | None  # bytes in all, and free
    perf_analyzer: PerfAnalyzer
    docker: Docker
    gpu: bool
    gpu_names: tuple[str, ...]
    driver: str | None
    trtexec: str | None


def look() -> Facts:
    """Return the facts about this machine; unreadable places count as absent."""
    found = runtime.installed()
    return Facts(
        requirements=runtime.requirements(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        environment=current(),
        uv=bool(uv_command()),
        packages={package: version_of(package) for package in PACKAGES},
        lacking={extra.name: missing(extra) for extra in EXTRAS},
        cache=_look_at_cache(wheels.server_cache()),
        wheel=wheels.reachable(wheels.by_hand(PYTRITON)),
        triton=found.triton_version if found else None,
        ports={port: _in_use(port) for port in PORTS},
        shared_memory=_room(SHARED_MEMORY),
        perf_analyzer=_look_at_perf_analyzer(),
        docker=_look_at_docker(),
        gpu=gpu_present(),
        gpu_names=tuple(_gpu_names()),
        driver=DRIVER.read_text().strip() if DRIVER.is_file() else None,
        trtexec=shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None),
    )


def _look_at_cache(folder: Path) -> Cache:
    existing = next(path for path in (folder, *folder.parents) if wheels.reachable(path))
    return Cache(folder, _size(folder), shutil.disk_usage(existing).free, _obstacle(existing))


def _obstacle(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.X_OK):
        return f"{folder} may not be entered"
    return "" if os.access(folder, os.W_OK) else f"{folder} is not writable"


def _size(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):  # it skips folders that may not be listed
        for file in files:
            try:
                total += Path(parent, file).lstat().st_size
            except OSError:  # a server that has just stopped removes its files
                continue
    return total


def _in_use(port: int) -> bool:
    try:
        choose_ports(Ports(port, 0, 0))
    except ServerError:
        return True
    return False


def _room(folder: Path) -> tuple[int, int] | None:
    if not folder.is_dir():
        return None
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free


def _gpu_names() -> Iterator[str]:
    for file in sorted(GPUS.glob("*/information")):
        for line in file.read_text().splitlines():
            if line.startswith("Model:"):
                yield line.removeprefix("Model:").strip()


def _look_at_perf_analyzer() -> PerfAnalyzer:
    on_path = shutil.which("perf_analyzer")
    answer = _ask((on_path, "--version")) if on_path else None
    wheel = runtime.perf_analyzer_wheel()
    return PerfAnalyzer(
        on_path=on_path,
        silence=answer.last_words if answer and answer.code else "",
        fetched=wheels.installed(wheel) is not None,
        downloaded=wheels.reachable(wheels.by_hand(wheel)),
        wheel=wheel,
    )


def _look_at_docker() -> Docker:
    """Ask docker's client everything at the same time, so that a daemon that hangs costs the patience only once."""
    if not shutil.which("docker"):
        return Docker(None, None, "", None, False)
    questions = (
        ("docker", "version", "--format", "{{.Client.Version}}"),
        ("docker", "version", "--format", "{{.Server.Version}}"),
        ("docker", "compose", "version", "--short"),
        ("docker", "info", "--format", "{{json .Runtimes}}"),
    )
    with ThreadPoolExecutor(len(questions)) as pool:
        client, daemon, compose, runtimes = pool.map(_ask, questions)
    return Docker(
        client=client.out.strip() or "of an unknown version",
        daemon=daemon.out.strip() if daemon.code == 0 else None,
        silence="" if daemon.code == 0 else daemon.last_words,
        compose=compose.out.strip() if compose.code == 0 else None,
        # The toolkit's hook serves --gpus even if its runtime is not registered.
        nvidia='"nvidia"' in runtimes.out or shutil.which("nvidia-container-runtime-hook") is not None,
    )


def _ask(command: tuple[str, ...]) -> process.Finished:
    try:
        return process.run(command, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return process.Finished(command, 124, "", f"no answer within {PATIENCE:.0f} s")
    except OSError as error:
        return process.Finished(command, 126, "", error.strerror or str(error))
