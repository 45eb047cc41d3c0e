"""Starts a server under its guardian, and stops it."""

import fcntl
import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.server.binaries import runtime, wheels
from modelrepo.server.running import docker, local, overlay
from modelrepo.server.running import log as logs
from modelrepo.server.running.guardian import NOTE
from modelrepo.server.running.handle import PortTaken, Server
from modelrepo.server.running.local import Launch
from modelrepo.server.running.spec import GRACE_SECONDS, ServerSpec, choose_ports

# A container's image may have to be pulled first.
START_SECONDS = {"local": 600.0, "docker": 3600.0}
# Another process may take a free port before Triton does.
ATTEMPTS = 3
LAUNCHERS = {"local": local.launch, "docker": docker.launch}
# A file in a server's folder. Its guardian holds a lock on it while it runs.
ALIVE = "alive"


def started(spec: ServerSpec, progress: Progress) -> Server:
    """Start the server, and return it when it has loaded, or failed to load, its models.

    Raises ServerError if it can't be started, and leaves nothing behind.
    """
    attempt = 1
    while True:
        server = _launched(replace(spec, ports=choose_ports(spec.ports)), progress)
        try:
            with progress.step("start", f"starting {server.description}") as step:
                server.wait_until_started(START_SECONDS[spec.runtime])
                step.outcome = f"{server.http_url}, {server.grpc_url}"
            return server
        except BaseException as error:
            stop(server)
            if not isinstance(error, PortTaken) or attempt == ATTEMPTS:
                raise
        attempt += 1


def stop(server: Server) -> None:
    """Have the guardian stop the server and clean up, and wait until it is done."""
    streams = (server.guardian.stdin, server.guardian.stdout)
    for stream in streams:
        if stream:
            stream.close()
    server.guardian.wait()


def _launched(spec: ServerSpec, progress: Progress) -> Server:
    """Prepare the server's files in a folder of its own, and start it there."""
    runs = runtime.runs_folder()
    scratch = runs / uuid.uuid4().hex[:12]
    try:
        _sweep(runs)
        (scratch / "empty").mkdir(parents=True)
        with (scratch / f"{ALIVE}.new").open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            Path(alive.name).rename(scratch / ALIVE)  # locked when it appears, or another process's sweep removes it
            spec, notes = _with_repository(spec, scratch / "repository")
            return _guarded(LAUNCHERS[spec.runtime](spec, scratch, progress), spec, scratch, alive.fileno(), notes)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        hint = "Name another folder in the variable MODELREPO_CACHE"
        raise ServerError(f"can't prepare a server in {scratch}: {error}", hint) from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _with_repository(spec: ServerSpec, folder: Path) -> tuple[ServerSpec, tuple[str, ...]]:
    """Return the spec with the repository to serve: ``folder`` if it names none or needs an overlay."""
    if spec.repository is None:
        folder.mkdir()
        return replace(spec, repository=folder), ()
    if spec.cpu_overlay:
        return replace(spec, repository=folder), overlay.lay(spec.repository, folder)
    return spec, ()


def _sweep(runs: Path) -> None:
    """Remove what killed guardians left behind: the folders whose lock is free."""
    for folder in runs.iterdir() if runs.is_dir() else ():
        try:
            with (folder / ALIVE).open("r+") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for region in local.shared_memory(folder):
                    region.unlink(missing_ok=True)
                for temporary in (folder / NOTE).read_text().split() if (folder / NOTE).exists() else ():
                    shutil.rmtree(temporary, ignore_errors=True)  # a broken environment may be half unpacked in it
                shutil.rmtree(folder, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):  # in use, or being made or removed right now
            continue


def _guarded(launch: Launch, spec: ServerSpec, scratch: Path, alive: int, notes: tuple[str, ...]) -> Server:
    running = {folder.name for folder in scratch.parent.iterdir()}
    log = logs.new_file(wheels.server_cache() / "logs", scratch.name, running)
    order = {
        **asdict(launch),
        "folder": str(scratch / "empty"),
        "scratch": str(scratch),
        "log": str(log),
        "grace": GRACE_SECONDS if spec.graceful or spec.runtime == "docker" else 0,
    }
    guardian = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(Path(__file__).parent / "guardian.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(alive,),
    )
    first = b""
    if guardian.stdin and guardian.stdout:  # as they were asked for
        guardian.stdin.write(json.dumps(order).encode() + b"\n")
        guardian.stdin.flush()
        first = guardian.stdout.readline()
    if not first.strip().isdigit():
        raise ServerError(f"can't start {launch.command[0]}: {first.decode().strip() or 'its guardian ended'}")
    return Server(spec.ports, spec.served, log, int(first), launch.description, guardian, notes)
