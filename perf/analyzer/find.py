"""Finding perf_analyzer: on PATH, in NVIDIA's wheel for this machine, or in NVIDIA's SDK container.

Only the container's command is tested: there was no docker daemon on the machine where this was written.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import PerfError, ServerError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import process
from modelrepo.generator.triton.releases import Release
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.binaries.wheels import PYTRITON_LIBRARIES
from modelrepo.server.running import docker

Way = Literal["auto", "path", "wheel", "container"]
PROGRAM = "perf_analyzer"
# It answers --version at once, unless the machine or its disk is busy.
START_SECONDS = 60.0


@dataclass(frozen=True)
class Analyzer:
    """A perf_analyzer: its command, the variables that it needs beside this process's, and its origin.

    ``version`` is empty if it prints none, and for the container, which would be downloaded to ask it.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    origin: str
    version: str


def find(which: Way, folder: Path, progress: Progress, release: Release) -> Analyzer:
    """Return a perf_analyzer; the wheel is fetched first if it is needed and not here yet.

    ``auto`` takes the one on PATH (and skips it with a warning if it can't start), then the wheel if this machine can
    run it, then the container. ``folder`` has the inputs and results; the container sees no other folder. Raises
    PerfError if the requested one is not available.
    """
    match which:
        case "path":
            return _on_path()
        case "wheel":
            return _from_wheel(progress)
        case "container":
            return _in_container(folder, release)
    if shutil.which(PROGRAM):
        try:
            return _on_path()
        except PerfError as error:
            progress.warn(f"{error.message}; using another perf_analyzer")
    system = runtime.platform_requirement()
    if system.ok:
        return _from_wheel(progress)
    if docker.available():
        return _in_container(folder, release)
    raise PerfError(
        f"can't find a {PROGRAM}: none on PATH starts, there is no docker for NVIDIA's container, and NVIDIA's wheel "
        f"needs {system.needed}; this machine has {system.found}",
        f"Put a {PROGRAM} on PATH, install docker, or measure from a machine that can run the wheel",
    )


def _on_path() -> Analyzer:
    found = shutil.which(PROGRAM)
    if not found:
        raise PerfError(f"there is no {PROGRAM} on PATH", "Use NVIDIA's: --analyzer wheel, or --analyzer container")
    command = (str(Path(found).absolute()),)
    return Analyzer(command, {}, "PATH", _version(command, {}))


def _from_wheel(progress: Progress) -> Analyzer:
    system = runtime.platform_requirement()
    if not system.ok:
        raise PerfError(
            f"NVIDIA's wheel of {PROGRAM} needs {system.needed}; this machine has {system.found}",
            f"Put a {PROGRAM} on PATH, or use docker: --analyzer container",
        )
    try:
        wheel = runtime.perf_analyzer_wheel()
        home = wheels.ensure(wheel, progress)
    except ServerError as error:
        raise PerfError(error.message, error.hint) from error
    command = (str(home / wheel.members[0]),)
    libraries = (home, *(wheels.server_cache() / each.folder / PYTRITON_LIBRARIES for each in wheel.needs))
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))} if wheel.needs else {}
    return Analyzer(command, environment, f"wheel {wheel.requirement}", _version(command, environment) or wheel.version)


def _version(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the version that a perf_analyzer prints, or an empty text; PerfError if it can't start."""
    try:
        done = process.run([*command, "--version"], timeout=START_SECONDS, environment={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        reason = f"no answer within {START_SECONDS:.0f} seconds"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if done.code == 0:
            printed = re.search(r"Version (?!0\.0\.0 )(\d\S*)", done.out)  # 2.60.0 calls itself 0.0.0
            return printed[1] if printed else ""
        reason = done.last_words
    raise PerfError(
        f"{command[0]} can't start: {reason}",
        "Install what it lacks, or choose another: --analyzer path, wheel or container",
    )


def _in_container(folder: Path, release: Release) -> Analyzer:
    """Return the SDK container of a release; it uses this machine's network and shared memory."""
    if not docker.available():
        raise PerfError("there is no docker here", f"Install docker, or put a {PROGRAM} on PATH")
    image, shared = f"{release.image}-sdk", str(folder.absolute())
    command = (
        *("docker", "run", "--rm", "--init", "--network", "host", "--ipc", "host"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--security-opt", "no-new-privileges:true"),
        *("-v", f"{shared}:{shared}", "-w", shared, "-e", "HOME=/tmp", "--entrypoint", PROGRAM, image),
    )
    return Analyzer(command, {}, f"container {image}", "")
