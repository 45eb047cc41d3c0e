"""What this machine has for building plans: GPUs, TensorRT, docker. Every question may have no answer."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from weakref import WeakKeyDictionary

from modelrepo.generator.progress import Progress
from modelrepo.generator.system import process

SECONDS = 30.0
# NVML, without a package of its own: nvidia-smi comes with the driver, and WSL keeps it in a place of its own.
NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
QUERY = "index,name,compute_cap,driver_version,uuid"
# A Builder raises TypeError without a usable GPU, and what comes after it may crash: never in this process.
PROBE = "import tensorrt; print(tensorrt.__version__); tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))"
# What `docker run --gpus` needs of the host besides the daemon, where the daemon does not list it as a runtime.
HOOKS = ("nvidia-container-runtime-hook", "nvidia-cdi-hook")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU of this machine."""

    index: int  # as nvidia-smi counts
    name: str
    compute_capability: str  # such as "8.9"
    driver: str  # its version
    uuid: str = ""


@dataclass(frozen=True)
class Machine:
    """The means for building plans that this machine has."""

    gpus: tuple[Gpu, ...] = ()
    tensorrt: str | None = None  # the version that Python can import
    docker: str | None = "there is no docker here"  # why a container can't use a GPU; None if it can
    why_no_gpu: str = "no CUDA device on this machine"  # empty if there is a GPU
    why_no_tensorrt: str = "TensorRT is not installed"  # empty if there is a TensorRT

    @property
    def types(self) -> tuple[Gpu, ...]:
        """One GPU of each compute capability, which is what a plan belongs to."""
        first: dict[str, Gpu] = {}
        for gpu in self.gpus:
            first.setdefault(gpu.compute_capability, gpu)
        return tuple(first.values())


# What was found in each run; a Progress belongs to one.
_found: WeakKeyDictionary[Progress, Machine] = WeakKeyDictionary()


def gpu_present() -> bool:
    """Tell whether NVIDIA's kernel driver offers a device (natively, or through WSL)."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def look(progress: Progress | None = None) -> Machine:
    """Find out what is here, once in a run; what can't be found is told in the Machine, and nothing is raised."""
    progress = progress or Progress()
    if progress not in _found:
        _found[progress] = _look(progress)
    return _found[progress]


def _look(progress: Progress) -> Machine:
    found, no_gpu = gpus()
    if not found:  # nothing else is asked: TensorRT may crash without one, and docker has none to give
        return Machine(why_no_gpu=no_gpu, why_no_tensorrt=_missing() or "")
    progress.note("asking for TensorRT and docker")
    tensorrt, no_tensorrt = _tensorrt()
    return Machine(found, tensorrt, _docker(), "", no_tensorrt)


def _ask(command: Sequence[str]) -> process.Finished | str:
    """Run a command and return what it said, or why it said nothing."""
    try:
        return process.run(command, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{Path(command[0]).name} did not answer within {SECONDS:.0f} seconds"
    except OSError as error:
        return f"{Path(command[0]).name} can't be run: {error.strerror}"


def gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that CUDA may use, and otherwise why there are none: asks nvidia-smi, and nothing else."""
    program = next(filter(None, map(shutil.which, NVIDIA_SMI)), None)
    if program is None:
        known = "a CUDA device without nvidia-smi, which comes with its driver" if gpu_present() else ""
        return (), known or "no CUDA device on this machine"
    told = _ask([program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
    if isinstance(told, str):
        return (), told
    if told.code:
        return (), f"nvidia-smi finds no usable GPU: {told.last_words}"
    try:
        found = tuple(_gpu(line) for line in told.out.splitlines() if line.strip())
    except ValueError:
        return (), f"nvidia-smi said something unexpected: {told.last_words}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not found or visible is None:
        return found, "" if found else "no CUDA device on this machine"
    shown = tuple(gpu for gpu in found if _is_visible(gpu, visible))
    return shown, "" if shown else f"CUDA_VISIBLE_DEVICES={visible} names no whole GPU of this machine"


def _is_visible(gpu: Gpu, visible: str) -> bool:
    """Tell whether a GPU is among those that CUDA is told to use: by index, or by the beginning of its UUID.

    A part of a GPU (MIG) is none: nvidia-smi does not say here which one it belongs to.
    """
    named = [each.strip() for each in visible.split(",")]
    return str(gpu.index) in named or any(each.startswith("GPU-") and gpu.uuid.startswith(each) for each in named)


def _gpu(line: str) -> Gpu:
    index, name, capability, driver, uuid = (part.strip() for part in line.split(","))
    float(capability)  # "[N/A]" where the driver is too old to say
    return Gpu(int(index), name, capability, driver, uuid)


def _missing() -> str | None:
    """Return which package is missing to build plans in Python, None for none."""
    names = {"tensorrt": "TensorRT", "polygraphy": "polygraphy"}
    absent = next((shown for name, shown in names.items() if find_spec(name) is None), None)
    return f"{absent} is not installed" if absent else None


def _tensorrt() -> tuple[str | None, str]:
    """Return the version of the TensorRT that Python can use, and otherwise why there is none."""
    missing = _missing()
    if missing:
        return None, missing
    told = _ask([sys.executable, "-P", "-c", PROBE])
    if isinstance(told, str):
        return None, told
    if told.code < 0:
        return None, f"TensorRT crashes here with {signal.Signals(-told.code).name}"
    if told.code:
        return None, f"TensorRT can't be used here: {told.last_words}"
    return told.out.strip(), ""


def _docker() -> str | None:
    """Return why docker can give no container a GPU, None where it can."""
    if shutil.which("docker") is None:
        return "there is no docker here"
    told = _ask(["docker", "info", "--format", "{{json .}}"])
    if isinstance(told, str):
        return told
    try:
        info = json.loads(told.out)
        errors = info.get("ServerErrors") or []
        runtimes = info.get("Runtimes") or {}
        devices = [str(device.get("ID")) for device in info.get("DiscoveredDevices") or []]
    except (ValueError, AttributeError, TypeError):
        return f"docker said something unexpected: {told.last_words}"
    if told.code or errors:
        return f"docker does not answer: {errors[0] if errors else told.last_words}"
    reachable = "nvidia" in runtimes or any(device.startswith("nvidia.com/gpu") for device in devices)
    if not reachable and not any(map(shutil.which, HOOKS)):
        return "docker can't give a container a GPU: NVIDIA's container toolkit is missing"
    return None
