"""Triton in NVIDIA's container, behind the same interface.

Only the command is tested: there was no docker daemon on the machine where this was written. The container is stopped
by the signal that `docker run` passes on, and removed by name if the docker client was killed.
"""

import os
import shutil
from dataclasses import astuple
from pathlib import Path

from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import step_packages
from modelrepo.generator.tensorrt.machine import gpu_present
from modelrepo.server.running.handle import Ports
from modelrepo.server.running.local import Launch
from modelrepo.server.running.spec import ServerSpec, server_flags

# The folder of the models and the ports of the server inside the container.
MODELS = "/models"
INSIDE = Ports(8000, 8001, 8002)
SHARED_MEMORY = "1g"


def available() -> bool:
    """Whether there is a docker client. This does not ask its daemon."""
    return shutil.which("docker") is not None


def launch(spec: ServerSpec, scratch: Path, progress: Progress) -> Launch:
    """Return the command that starts the image of the spec's release; ServerError without a docker client."""
    if not available():
        raise ServerError("there is no docker here", "Install docker, or use --runtime local")
    for model, packages in step_packages.required(spec.served, spec.models).items():
        raise ServerError(
            f"{model} needs {', '.join(packages)}, which {spec.release.image} lacks", f"Use {step_packages.SERVED_WITH}"
        )
    name = f"modelrepo-{scratch.name}"
    published = zip(astuple(spec.ports), astuple(INSIDE), strict=True)
    command = [
        *("docker", "run", "--rm", "--name", name, "--shm-size", SHARED_MEMORY),
        *("--security-opt", "no-new-privileges:true"),
        *(("--gpus", "all") if gpu_present() else ()),
        *(part for outer, inner in published for part in ("-p", f"127.0.0.1:{outer}:{inner}")),
        *("-v", f"{spec.served}:{MODELS}:ro", spec.release.image),
        *("tritonserver", *server_flags(spec, MODELS, "0.0.0.0", INSIDE)),  # noqa: S104 - inside the container
    ]
    return Launch(
        command=tuple(command),
        environment=dict(os.environ),
        description=f"container {spec.release.image}",
        cleanup=("docker", "rm", "--force", name),
    )
