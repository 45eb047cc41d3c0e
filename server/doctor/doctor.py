"""What the facts about a machine mean for `generate` and `serve`: what a missing piece disables, and how to get it."""

from dataclasses import dataclass
from typing import Literal

from modelrepo.server.binaries.runtime import Requirement
from modelrepo.server.binaries.wheels import PYTRITON
from modelrepo.server.doctor.machine import SHARED_MEMORY, Docker, Facts

# The room for the unpacked Triton, and the shared memory of a few Python-based models.
CACHE_BYTES = PYTRITON.megabytes * 1_000_000
SHARED_MEMORY_BYTES = 64 * 2**20

LOCAL = "the local server: `serve`, `infer` without --url, the live check"
OTHER_PYTHON = "make clean; make PYTHON=python3.12 demo, with a Python built with --enable-shared"
# The next step for each requirement of the local Triton that is not met.
NEXT_STEPS = {
    "platform": "modelrepo serve --runtime docker, or another machine",
    "python": OTHER_PYTHON,
    "libpython": f"Debian, Ubuntu: apt-get install libpython{{python}}; other systems: {OTHER_PYTHON}",
}

Status = Literal["ok", "optional", "missing", "problem"]


@dataclass(frozen=True)
class Check:
    """One check: what it disables if it is not ok, and the next step.

    ``stops_server`` means that the local Triton can't run because of it.
    """

    name: str
    status: Status
    found: str
    disables: str = ""
    next_step: str = ""
    stops_server: bool = False


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return the checks, in the order in which their pieces are needed."""
    return (
        *(_requirement(facts, requirement) for requirement in facts.requirements),
        _pip(facts),
        _step_packages(facts),
        _cache(facts),
        _triton(facts),
        _package(facts, "onnxruntime", "verifying and serving ONNX models", stops_server=True),
        _package(facts, "tritonclient", "asking a server: `infer`, the live check", stops_server=True),
        _torch(facts),
        _frameworks(facts),
        _ports(facts),
        _shared_memory(facts),
        _docker(facts.docker),
        _compose(facts.docker),
        _nvidia(facts.docker),
        _gpu(facts),
        _tensorrt(facts),
        _perf_analyzer(facts),
    )


def _requirement(facts: Facts, requirement: Requirement) -> Check:
    name, found = requirement.name, requirement.found
    if requirement.ok:
        return Check(name, "ok", found)
    status: Status = "missing" if name == "libpython" else "problem"
    step = NEXT_STEPS[name].format(python=facts.python)
    return Check(name, status, found, f"{LOCAL}; it needs {requirement.needed}", step, stops_server=True)


def _pip(facts: Facts) -> Check:
    if facts.packages["pip"]:
        return Check("pip", "ok", str(facts.packages["pip"]))
    finder = "uv finds" if facts.uv else "the package index is asked for"
    step = f"python3 -m pip --python {facts.environment.python} install pip"
    return Check("pip", "optional", "not installed", f"nothing: {finder} Triton and perf_analyzer", step)


def _step_packages(facts: Facts) -> Check:
    """Return what installs the packages that Python steps of ensembles require."""
    tool = "uv" if facts.uv else f"pip {facts.packages['pip']}" if facts.packages["pip"] else ""
    if tool:
        return Check("packages of steps", "ok", f"{tool} installs them")
    step = f"python3 -m pip --python {facts.environment.python} install pip"
    disables = "Python steps with requirements that this Python lacks: their live check, `serve`"
    return Check("packages of steps", "missing", "neither uv nor pip", disables, step)


def _cache(facts: Facts) -> Check:
    cache = facts.cache
    found = f"{cache.folder}, {_megabytes(cache.size)}"
    step = "MODELREPO_CACHE=/a/folder/with/room modelrepo serve"
    if cache.obstacle:
        return Check("cache", "problem", cache.obstacle, LOCAL, step, stops_server=True)
    if cache.free < CACHE_BYTES and not facts.triton:
        found += f", {_megabytes(cache.free)} free"
        return Check("cache", "problem", found, f"fetching Triton: {_megabytes(CACHE_BYTES)}", step, stops_server=True)
    return Check("cache", "ok", found)


def _triton(facts: Facts) -> Check:
    if facts.triton:
        return Check("triton", "ok", facts.triton)
    found, later = "not fetched yet", f"nothing: the first server downloads {PYTRITON.download} MB"
    if facts.wheel:
        found, later = "downloaded, not unpacked yet", "nothing: the first server unpacks it"
    return Check("triton", "missing", found, later, "modelrepo serve")


def _package(facts: Facts, name: str, disables: str, *, stops_server: bool) -> Check:
    version = facts.packages[name]
    if version:
        return Check(name, "ok", version)
    extra = "[all]" if name == "tritonclient" else ""
    step = facts.environment.installing(f"{name}{extra}", exact=True)
    return Check(name, "missing", "not installed", disables, step, stops_server=stops_server)


def _torch(facts: Facts) -> Check:
    torch, vision = facts.packages["torch"], facts.packages["torchvision"]
    if torch and vision:
        return Check("torch", "ok", f"{torch}, torchvision {vision}")
    absent = " and ".join(name for name in ("torch", "torchvision") if not facts.packages[name])
    step = facts.environment.installing_extras(("torch",), exact=True)
    return Check("torch", "missing", f"no {absent}", "`generate` from PyTorch models", step)


def _frameworks(facts: Facts) -> Check:
    absent = [extra for extra, packages in facts.lacking.items() if packages]
    here = ", ".join(extra for extra in facts.lacking if extra not in absent)
    if not absent:
        return Check("frameworks", "ok", here)
    step = facts.environment.installing_extras(absent, exact=True)
    found = f"no {', '.join(absent)}" + (f"; {here}" if here else "")
    return Check("frameworks", "missing", found, f"`generate` from models of {', '.join(absent)}", step)


def _ports(facts: Facts) -> Check:
    used = ", ".join(str(port) for port, in_use in facts.ports.items() if in_use)
    free = ", ".join(str(port) for port, in_use in facts.ports.items() if not in_use)
    if not used:
        return Check("ports", "ok", f"{free} free")
    step = "`serve` chooses free ports; for docker compose, stop the programs that listen there: ss -ltnp"
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
        return Check("docker", "problem", found, disables, "sudo systemctl start docker; docker info shows more")
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
    step = facts.environment.installing_extras(("tensorrt",), exact=True)
    return Check("tensorrt", "optional", "not installed", later, step)


def _perf_analyzer(facts: Facts) -> Check:
    analyzer = facts.perf_analyzer
    runs_wheel = all(requirement.ok for requirement in facts.requirements if requirement.name == "platform")
    if analyzer.on_path and not analyzer.silence:
        return Check("perf_analyzer", "ok", analyzer.on_path)
    if analyzer.fetched and runs_wheel and not analyzer.on_path:
        return Check("perf_analyzer", "ok", f"in the cache, from {analyzer.wheel.requirement}")
    status: Status = "problem" if analyzer.on_path else "missing"
    found = f"{analyzer.on_path} can't start: {analyzer.silence}" if analyzer.on_path else "not on PATH"
    disables, step = "nothing: ", "modelrepo bench"
    if not runs_wheel and not facts.docker.client:
        disables, step = "`modelrepo bench`", "put one on PATH, install docker, or measure from another machine"
    elif not runs_wheel:
        disables += "`modelrepo bench` runs it in NVIDIA's SDK container, several GB"
    elif analyzer.fetched:
        disables += "`modelrepo bench` uses the one in the cache"
    elif analyzer.downloaded:
        disables += "the first `modelrepo bench` unpacks the downloaded one"
    else:
        with_triton = "".join(f", and {each.name}'s {each.download} MB if need be" for each in analyzer.wheel.needs)
        disables += f"the first `modelrepo bench` downloads {analyzer.wheel.download} MB{with_triton}"
    return Check("perf_analyzer", status, found, disables, step)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
