"""How a plan is built on a machine: in a process, in the serving container, or not here."""

from dataclasses import dataclass
from typing import Literal

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.tensorrt import machine as machines
from modelrepo.generator.tensorrt.header import version_numbers
from modelrepo.generator.tensorrt.machine import Machine
from modelrepo.generator.tensorrt.plan_spec import PlanSpec
from modelrepo.generator.triton.releases import release_named

DRIVERS = "https://docs.nvidia.com/deploy/cuda-compatibility"
TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit"

Wanted = Literal["auto", "process", "container", "defer"]


@dataclass(frozen=True)
class Way:
    """How a plan is built."""

    kind: Literal["process", "container", "deferred"]
    reasons: tuple[str, ...]  # for this way, and against the others

    @property
    def deferral(self) -> str:
        """Why a plan that is not built here is not."""
        return f"plan building needs the GPU that will serve it; {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Obstacle:
    """A reason why a plan can't be built in one way."""

    reason: str
    next_step: str  # how the user can remove it


def find(spec: PlanSpec, wanted: Wanted, progress: Progress) -> Way:
    """Return how a plan is built on this machine, as ``choose`` does; nothing is looked for where none is wanted."""
    return choose(spec, Machine() if wanted == "defer" else machines.look(progress), wanted)


def choose(spec: PlanSpec, machine: Machine, wanted: Wanted) -> Way:
    """Return the way that is wanted, or the first that is possible: process, container, deferred.

    Raises ConversionError where a way is wanted that is not possible, with the reason and the next step.
    """
    if wanted == "defer":
        return Way("deferred", ("asked for by --plan-builder defer",))
    process = process_obstacle(spec, machine, certain=wanted == "auto")
    container = container_obstacle(spec, machine)
    if wanted != "auto":
        obstacle = process if wanted == "process" else container
        if obstacle:
            raise ConversionError(f"the plan can't be built by --plan-builder {wanted}: {obstacle.reason}",
                                  obstacle.next_step)  # fmt: skip
        return Way(wanted, (f"asked for by --plan-builder {wanted}",))
    if process is None:
        return Way("process", (f"TensorRT {machine.tensorrt} is what {spec.image} serves with",))
    if container is None:
        return Way("container", (f"not in this process: {process.reason}",))
    reasons = dict.fromkeys((process.reason, container.reason))
    return Way("deferred", tuple(reasons))


def process_obstacle(spec: PlanSpec, machine: Machine, *, certain: bool) -> Obstacle | None:
    """Return why the plan can't be built with this machine's own TensorRT, None where it can.

    ``certain``: a version of the image that is only known in part is not enough.
    """
    if not machine.gpus:
        return _no_gpu(machine)
    if machine.tensorrt is None:
        return Obstacle(machine.why_no_tensorrt, "pip install 'modelrepo[tensorrt]', or --plan-builder container")
    wanted, here = version_numbers(spec.tensorrt), version_numbers(machine.tensorrt)
    fits = here[: len(wanted)] == wanted
    if spec.version_compatible and here[: len(wanted)] < wanted:
        return None
    if not fits:
        return Obstacle(
            f"TensorRT {machine.tensorrt} is installed, and {spec.image} serves with {spec.tensorrt}",
            f"pip install 'tensorrt=={'.'.join(map(str, wanted))}.*', or --plan-builder container",
        )
    if certain and len(wanted) < 3:
        return Obstacle(
            f"the TensorRT of {spec.image} is only known as {spec.tensorrt or 'unknown'}",
            f"Ask it: docker run --rm {spec.image} dpkg-query -W 'libnvinfer*'",
        )
    return None


def container_obstacle(spec: PlanSpec, machine: Machine) -> Obstacle | None:
    """Return why the plan can't be built in the image that serves it, None where it can."""
    if not machine.gpus:
        return _no_gpu(machine)
    if machine.docker:
        return Obstacle(machine.docker, f"Install docker and NVIDIA's container toolkit: {TOOLKIT}")
    least, driver = release_named(spec.release).min_driver, machine.gpus[0].driver
    branch = driver.partition(".")[0]
    if branch.isdecimal() and int(branch) < least:
        return Obstacle(
            f"the driver {driver} is too old for {spec.image}, which needs {least}",
            f"Update the driver, or name an older --target-release; what CUDA allows is in {DRIVERS}",
        )
    return None


def _no_gpu(machine: Machine) -> Obstacle:
    return Obstacle(
        machine.why_no_gpu, "Build it on the GPU host: --plan-builder defer prepares the files and the command"
    )
