"""The way to build a plan on a machine: in a process, in the serving container, or not at all."""

from dataclasses import dataclass
from typing import Literal

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.environment import current, extra_command
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
        """Why the plan is not built here."""
        return f"plan building needs the GPU that will serve it; {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Obstacle:
    """A reason why a plan can't be built in one way."""

    reason: str
    next_step: str  # how the user can remove it


def find(spec: PlanSpec, wanted: Wanted, progress: Progress) -> Way:
    """Return the way to build a plan on this machine, as ``choose`` does; ``defer`` looks for nothing."""
    return choose(spec, Machine() if wanted == "defer" else machines.look(progress), wanted)


def choose(spec: PlanSpec, machine: Machine, wanted: Wanted) -> Way:
    """Return the way that is wanted, or the first that is possible: process, container, deferred.

    Raises ConversionError, with the reason and the next step, if the wanted way is not possible.
    """
    if wanted == "defer":
        return Way("deferred", ("requested by --plan-builder defer",))
    process = process_obstacle(spec, machine, certain=wanted == "auto")
    container = container_obstacle(spec, machine)
    if wanted != "auto":
        obstacle = process if wanted == "process" else container
        if obstacle:
            raise ConversionError(f"can't build the plan with --plan-builder {wanted}: {obstacle.reason}",
                                  obstacle.next_step)  # fmt: skip
        return Way(wanted, (f"requested by --plan-builder {wanted}",))
    if process is None:
        return Way("process", (f"{spec.image} serves with the same TensorRT {machine.tensorrt}",))
    if container is None:
        return Way("container", (f"not in this process: {process.reason}",))
    reasons = dict.fromkeys((process.reason, container.reason))
    return Way("deferred", tuple(reasons))


def process_obstacle(spec: PlanSpec, machine: Machine, *, certain: bool) -> Obstacle | None:
    """Return why the plan can't be built with this machine's own TensorRT, or None.

    With ``certain`` the full TensorRT version of the image must be known.
    """
    if not machine.gpus:
        return _no_gpu(machine)
    if machine.tensorrt is None:
        return Obstacle(machine.why_no_tensorrt, f"{extra_command('tensorrt')}, or --plan-builder container")
    wanted, here = version_numbers(spec.tensorrt), version_numbers(machine.tensorrt)
    fits = here[: len(wanted)] == wanted
    if spec.version_compatible and here[: len(wanted)] < wanted:
        return None
    if not fits:
        numbers = ".".join(map(str, wanted))
        return Obstacle(
            f"TensorRT {machine.tensorrt} is installed, but {spec.image} serves with {spec.tensorrt}",
            f"{current().installing(f'tensorrt=={numbers}.*')}, or --plan-builder container",
        )
    if certain and len(wanted) < 3:
        return Obstacle(
            f"the TensorRT of {spec.image} is {f'only known as {spec.tensorrt}' if spec.tensorrt else 'not known'}",
            f"Query it: docker run --rm {spec.image} dpkg-query -W 'libnvinfer*', or name an older --target-release",
        )
    return None


def container_obstacle(spec: PlanSpec, machine: Machine) -> Obstacle | None:
    """Return why the plan can't be built in the image that serves it, or None."""
    if not machine.gpus:
        return _no_gpu(machine)
    if machine.docker:
        return Obstacle(machine.docker, f"Install docker and NVIDIA's container toolkit: {TOOLKIT}")
    least, driver = release_named(spec.release).min_driver, machine.gpus[0].driver
    branch = driver.partition(".")[0]
    if branch.isdecimal() and int(branch) < least:
        return Obstacle(
            f"the driver {driver} is too old for {spec.image}, which needs {least}",
            f"Update the driver, or name an older --target-release; see {DRIVERS}",
        )
    return None


def _no_gpu(machine: Machine) -> Obstacle:
    return Obstacle(
        machine.why_no_gpu, "Build it on the GPU host: --plan-builder defer prepares the files and the command"
    )
