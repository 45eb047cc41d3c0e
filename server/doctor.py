"""What this machine has and lacks for `generate` and `serve`: facts first, then what they mean.

``look`` is the only function that touches the machine; it downloads nothing and waits for nobody longer than
``PATIENCE``. ``judge`` makes the checks of what was found.
"""

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from generator import process
from generator.backends.tensorrt import gpu_present
from server import runtime

PATIENCE = 1.0
PORTS = (8000, 8001, 8002)
PACKAGES = ("pip", "onnxruntime", "tritonclient", "torch", "torchvision", "tensorrt")
# The unpacked Triton, and what the shared memory of a few Python-based models takes.
CACHE_BYTES = 400_000_000
SHARED_MEMORY_BYTES = 64 * 2**20
TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton and its Python-based backends meet
DRIVER = Path("/sys/module/nvidia/version")
GPUS = Path("/proc/driver/nvidia/gpus")

Status = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what it disables where it is not ok, and what to do about it.

    ``stops_server`` says that the local Triton can't run because of it.
    """

    name: str
    status: Status
    found: str
    disables: str = ""
    next_step: str = ""
    stops_server: bool = False


@dataclass(frozen=True)
class Cache:
    """The folder that keeps what is downloaded, its size, and the room beside it."""

    folder: Path
    size: int
    free: int
    writable: bool


@dataclass(frozen=True)
class Docker:
    """Versions of docker's parts, None where one is not there; ``silence`` is why the daemon does not answer."""

    client: str | None
    daemon: str | None
    silence: str
    compose: str | None
    nvidia: bool


@dataclass(frozen=True)
class Facts:
    """What was found on a machine."""

    system: str
    machine: str
    executable: str
    python: tuple[int, int, int]
    libpython: Path
    libpython_found: bool
    glibc: str
    packages: Mapping[str, str | None]
    cache: Cache
    wheel: bool  # downloaded by hand, to be unpacked
    triton: str | None
    ports_in_use: tuple[int, ...]
    shared_memory: tuple[int, int] | None  # bytes in all, and free
    perf_analyzer: str | None
    docker: Docker
    gpu: bool
    gpu_names: tuple[str, ...]
    driver: str | None
    trtexec: str | None


# --- facts


def look() -> Facts:
    """Return what is here; unreadable places count as absent."""
    found = runtime.installed()
    library = runtime.libpython()
    name, _, glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    major, minor, micro = sys.version_info[:3]
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        executable=sys.executable,
        python=(major, minor, micro),
        libpython=library,
        libpython_found=library.exists(),
        glibc=glibc if name == "glibc" else "",
        packages={package: _version(package) for package in PACKAGES},
        cache=_look_at_cache(runtime.cache_folder()),
        wheel=_reachable(runtime.cache_folder() / "wheels" / runtime.PYTRITON.file),
        triton=found.triton_version if found else None,
        ports_in_use=tuple(port for port in PORTS if _in_use(port)),
        shared_memory=_room(SHARED_MEMORY),
        perf_analyzer=shutil.which("perf_analyzer"),
        docker=_look_at_docker(),
        gpu=gpu_present(),
        gpu_names=tuple(_gpu_names()),
        driver=DRIVER.read_text().strip() if DRIVER.is_file() else None,
        trtexec=shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _look_at_cache(folder: Path) -> Cache:
    existing = next(path for path in (folder, *folder.parents) if _reachable(path))
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Cache(folder, _size(folder), shutil.disk_usage(existing).free, writable)


def _reachable(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # also below a folder of somebody else
        return False
    return True


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # a server that has just stopped takes its files away
            continue
    return total


def _in_use(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
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


def _look_at_docker() -> Docker:
    """Ask docker's client everything at once: a daemon that hangs costs the patience once."""
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
        # The toolkit's hook serves --gpus even where its runtime is not registered.
        nvidia='"nvidia"' in runtimes.out or shutil.which("nvidia-container-runtime-hook") is not None,
    )


def _ask(command: tuple[str, ...]) -> process.Finished:
    try:
        return process.run(command, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return process.Finished(command, 124, "", f"no answer within {PATIENCE:.0f} s")
    except OSError as error:
        return process.Finished(command, 126, "", error.strerror or str(error))


# --- what the facts mean


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return the checks, in the order in which things are needed."""
    return (
        _platform(facts),
        _python(facts),
        _libpython(facts),
        _pip(facts),
        _cache(facts),
        _triton(facts),
        _package(facts, "onnxruntime", "verifying and serving ONNX models", stops_server=True),
        _package(facts, "tritonclient", "asking a server: `infer`, the live check", stops_server=True),
        _torch(facts),
        _ports(facts),
        _shared_memory(facts),
        _docker(facts.docker),
        _compose(facts.docker),
        _nvidia(facts.docker),
        _gpu(facts),
        _tensorrt(facts),
        _perf_analyzer(facts),
    )


LOCAL = "the local server: `serve`, `infer` without --url, the live check"
ELSEWHERE = "modelrepo serve --runtime docker, or another machine"


def _platform(facts: Facts) -> Check:
    found = f"{facts.system} {facts.machine}, {f'glibc {facts.glibc}' if facts.glibc else 'not glibc'}"
    recent = bool(facts.glibc) and tuple(map(int, facts.glibc.split(".")[:2])) >= runtime.GLIBC
    if (facts.system, facts.machine) == ("Linux", "x86_64") and recent:
        return Check("platform", "ok", found)
    needed = f"; it needs Linux x86_64 with glibc {runtime.GLIBC[0]}.{runtime.GLIBC[1]}"
    return Check("platform", "problem", found, LOCAL + needed, ELSEWHERE, stops_server=True)


def _python(facts: Facts) -> Check:
    found = f"{'.'.join(map(str, facts.python))}, {facts.executable}"
    if facts.python[:2] in runtime.PYTHONS:
        return Check("python", "ok", found)
    known = ", ".join(f"{major}.{minor}" for major, minor in runtime.PYTHONS)
    return Check("python", "problem", found, f"{LOCAL}; it needs Python {known}", _other_python(), stops_server=True)


def _libpython(facts: Facts) -> Check:
    if facts.libpython_found:
        return Check("libpython", "ok", str(facts.libpython))
    major, minor, _ = facts.python
    step = f"Debian, Ubuntu: apt-get install libpython{major}.{minor}; any other: {_other_python()}"
    return Check("libpython", "missing", f"no {facts.libpython}", LOCAL, step, stops_server=True)


def _other_python() -> str:
    return "make clean; make PYTHON=python3.12 demo, with a Python built with --enable-shared"


def _pip(facts: Facts) -> Check:
    if facts.packages["pip"]:
        return Check("pip", "ok", str(facts.packages["pip"]))
    step = f"python3 -m pip --python {facts.executable} install pip"
    stops = not (facts.triton or facts.wheel)
    return Check("pip", "missing", "not here", "fetching Triton", step, stops_server=stops)


def _cache(facts: Facts) -> Check:
    cache = facts.cache
    found = f"{cache.folder}, {_megabytes(cache.size)}"
    step = "MODELREPO_CACHE=/a/folder/with/room modelrepo serve"
    if not cache.writable:
        return Check("cache", "problem", f"{found}, not writable", LOCAL, step, stops_server=True)
    if cache.free < CACHE_BYTES and not facts.triton:
        found += f", {_megabytes(cache.free)} free"
        return Check("cache", "problem", found, f"fetching Triton: {_megabytes(CACHE_BYTES)}", step, stops_server=True)
    return Check("cache", "ok", found)


def _triton(facts: Facts) -> Check:
    if facts.triton:
        return Check("triton", "ok", facts.triton)
    found, later = "not fetched yet", "nothing: the first server downloads 55 MB"
    if facts.wheel:
        found, later = "downloaded, not unpacked yet", "nothing: the first server unpacks it"
    return Check("triton", "missing", found, later, "modelrepo serve")


def _package(facts: Facts, name: str, disables: str, *, stops_server: bool) -> Check:
    version = facts.packages[name]
    if version:
        return Check(name, "ok", version)
    extra = "[all]" if name == "tritonclient" else ""
    step = f"{facts.executable} -m pip install '{name}{extra}'"
    return Check(name, "missing", "not installed", disables, step, stops_server=stops_server)


def _torch(facts: Facts) -> Check:
    torch, vision = facts.packages["torch"], facts.packages["torchvision"]
    if torch and vision:
        return Check("torch", "ok", f"{torch}, torchvision {vision}")
    absent = " and ".join(name for name in ("torch", "torchvision") if not facts.packages[name])
    step = f"{facts.executable} -m pip install --editable '.[torch]', in the project's folder"
    return Check("torch", "missing", f"no {absent}", "`generate` from PyTorch models", step)


def _ports(facts: Facts) -> Check:
    used = ", ".join(map(str, facts.ports_in_use))
    free = ", ".join(str(port) for port in PORTS if port not in facts.ports_in_use)
    if not used:
        return Check("ports", "ok", f"{free} free")
    step = "`serve` takes free ports by itself; for docker compose, end what listens there: ss -ltnp"
    found = f"{used} in use" + (f", {free} free" if free else "")
    return Check("ports", "problem", found, f"listening on {used}, as docker compose does", step)


def _shared_memory(facts: Facts) -> Check:
    step = f"mount -o remount,size=1g {SHARED_MEMORY}; in a container: docker run --shm-size 1g"
    if not facts.shared_memory:
        return Check("shared memory", "missing", f"no {SHARED_MEMORY}", LOCAL, step, stops_server=True)
    total, free = facts.shared_memory
    found = f"{_megabytes(free)} of {_megabytes(total)} free"
    if free >= SHARED_MEMORY_BYTES:
        return Check("shared memory", "ok", found)
    return Check("shared memory", "problem", found, "serving several models, or large tensors", step)


def _docker(docker: Docker) -> Check:
    disables = "`serve --runtime docker`, docker compose, building TensorRT plans"
    if not docker.client:
        return Check("docker", "missing", "no docker on PATH", disables, "https://docs.docker.com/engine/install/")
    if not docker.daemon:
        found = f"client {docker.client}, no daemon: {docker.silence}"
        return Check("docker", "problem", found, disables, "sudo systemctl start docker; docker info tells more")
    return Check("docker", "ok", f"client {docker.client}, daemon {docker.daemon}")


def _compose(docker: Docker) -> Check:
    if docker.compose:
        return Check("docker compose", "ok", docker.compose)
    step = "https://docs.docker.com/compose/install/linux/"
    return Check("docker compose", "missing", "no plugin", "docker-compose.yml", step)


def _nvidia(docker: Docker) -> Check:
    if docker.nvidia:
        return Check("docker with GPUs", "ok", "NVIDIA's container toolkit")
    step = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
    return Check("docker with GPUs", "missing", "no nvidia runtime", "GPUs in containers, and so TensorRT plans", step)


def _gpu(facts: Facts) -> Check:
    if facts.gpu:
        names = ", ".join(facts.gpu_names) or "a device"
        return Check("gpu", "ok", f"{names}, driver {facts.driver or 'of an unknown version'}")
    step = "a machine with an NVIDIA GPU and its driver"
    return Check("gpu", "missing", "no NVIDIA device", "models on GPUs, building TensorRT plans", step)


def _tensorrt(facts: Facts) -> Check:
    version = facts.packages["tensorrt"]
    found = [f"Python package {version}"] if version else []
    found += [facts.trtexec] if facts.trtexec else []
    if found:
        return Check("tensorrt", "ok", ", ".join(found))
    later = "nothing: plans are built in the container that serves them"
    return Check("tensorrt", "missing", "no package, no trtexec", later, "docker compose run --rm build-plans")


def _perf_analyzer(facts: Facts) -> Check:
    if facts.perf_analyzer:
        return Check("perf_analyzer", "ok", facts.perf_analyzer)
    step = "it will come with `bench`; until then: docker compose run --rm perf -m MODEL"
    return Check("perf_analyzer", "missing", "not on PATH", "measuring without docker", step)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
