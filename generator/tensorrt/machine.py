"""The means for building plans on this machine: GPUs, TensorRT, docker. Each of them may be missing."""

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
# nvidia-smi comes with the driver, so no package is needed; WSL keeps it in a different place.
NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
QUERY = "index,name,compute_cap,driver_version,uuid"
# Without a usable GPU a Builder raises TypeError, or crashes the process: never run this in our own.
PROBE = "import tensorrt; print(tensorrt.__version__); tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))"
# The host's programs that `docker run --gpus` needs, if the daemon lists no runtime for GPUs.
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
        """One GPU of each compute capability; a plan is built for one of these."""
        first: dict[str, Gpu] = {}
        for gpu in self.gpus:
            first.setdefault(gpu.compute_capability, gpu)
        return tuple(first.values())


# The result for each run; a Progress belongs to one run.
_found: WeakKeyDictionary[Progress, Machine] = WeakKeyDictionary()


def gpu_present() -> bool:
    """Whether NVIDIA's kernel driver offers a device (natively, or through WSL)."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def look(progress: Progress | None = None) -> Machine:
    """Return what this machine has, looked up once in a run; the Machine says what is missing. Raises nothing."""
    progress = progress or Progress()
    if progress not in _found:
        _found[progress] = _look(progress)
    return _found[progress]


def _look(progress: Progress) -> Machine:
    found, no_gpu = gpus()
    if not found:  # TensorRT may crash without a GPU, and docker has none to give
        return Machine(why_no_gpu=no_gpu, why_no_tensorrt=_missing() or "")
    progress.note("looking for TensorRT and docker")
    tensorrt, no_tensorrt = _tensorrt()
    return Machine(found, tensorrt, _docker(), "", no_tensorrt)


def _ask(command: Sequence[str]) -> process.Finished | str:
    """Run a command and return its result, or why there is none."""
    try:
        return process.run(command, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{Path(command[0]).name} did not answer within {SECONDS:.0f} seconds"
    except OSError as error:
        return f"{Path(command[0]).name} can't be run: {error.strerror}"


def gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that CUDA may use, or why there are none; runs only nvidia-smi."""
    program = next(filter(None, map(shutil.which, NVIDIA_SMI)), None)
    if program is None:
        known = (
            "there is a CUDA device, but nvidia-smi is not installed: it comes with the driver" if gpu_present() else ""
        )
        return (), known or "no CUDA device on this machine"
    answer = _ask([program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
    if isinstance(answer, str):
        return (), answer
    if answer.code:
        return (), f"nvidia-smi finds no usable GPU: {answer.last_words}"
    try:
        found = tuple(_gpu(line) for line in answer.out.splitlines() if line.strip())
    except ValueError:
        return (), f"nvidia-smi printed something unexpected: {answer.last_words}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not found or visible is None:
        return found, "" if found else "no CUDA device on this machine"
    shown = tuple(gpu for gpu in found if _is_visible(gpu, visible))
    return shown, "" if shown else f"CUDA_VISIBLE_DEVICES={visible} names no whole GPU of this machine"


def _is_visible(gpu: Gpu, visible: str) -> bool:
    """Whether CUDA_VISIBLE_DEVICES lists a GPU: by index, or by the beginning of its UUID.

    A part of a GPU (MIG) doesn't count: this output of nvidia-smi does not say which GPU it belongs to.
    """
    named = [each.strip() for each in visible.split(",")]
    return str(gpu.index) in named or any(each.startswith("GPU-") and gpu.uuid.startswith(each) for each in named)


def _gpu(line: str) -> Gpu:
    index, name, capability, driver, uuid = (part.strip() for part in line.split(","))
    float(capability)  # "[N/A]" where the driver is too old to say
    return Gpu(int(index), name, capability, driver, uuid)


def _missing() -> str | None:
    """Return which package for building plans in Python is missing, or None."""
    names = {"tensorrt": "TensorRT", "polygraphy": "polygraphy"}
    absent = next((shown for name, shown in names.items() if find_spec(name) is None), None)
    return f"{absent} is not installed" if absent else None


def _tensorrt() -> tuple[str | None, str]:
    """Return the version of the TensorRT that Python can use, or why there is none."""
    missing = _missing()
    if missing:
        return None, missing
    answer = _ask([sys.executable, "-P", "-c", PROBE])
    if isinstance(answer, str):
        return None, answer
    if answer.code < 0:
        return None, f"TensorRT crashes here with {signal.Signals(-answer.code).name}"
    if answer.code:
        return None, f"TensorRT can't be used here: {answer.last_words}"
    return answer.out.strip(), ""


def _docker() -> str | None:
    """Return why docker can't give a container a GPU, or None."""
    if shutil.which("docker") is None:
        return "there is no docker here"
    answer = _ask(["docker", "info", "--format", "{{json .}}"])
    if isinstance(answer, str):
        return answer
    try:
        info = json.loads(answer.out)
        errors = info.get("ServerErrors") or []
        runtimes = info.get("Runtimes") or {}
        devices = [str(device.get("ID")) for device in info.get("DiscoveredDevices") or []]
    except (ValueError, AttributeError, TypeError):
        return f"docker printed something unexpected: {answer.last_words}"
    if answer.code or errors:
        return f"docker does not answer: {errors[0] if errors else answer.last_words}"
    reachable = "nvidia" in runtimes or any(device.startswith("nvidia.com/gpu") for device in devices)
    if not reachable and not any(map(shutil.which, HOOKS)):
        return "docker can't give a container a GPU: NVIDIA's container toolkit is missing"
    return None
