"""Starting a planned server under its guardian, and stopping it."""

import fcntl
import json
import shutil
import subprocess
import sys
import uuid
from contextlib import suppress
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
from modelrepo.server.running.plan import GRACE_SECONDS, Plan, choose_ports

# A container's image may have to be pulled first.
START_SECONDS = {"local": 600.0, "docker": 3600.0}
# A port that was free may be taken by someone else before Triton takes it.
ATTEMPTS = 3
LAUNCHERS = {"local": local.launch, "docker": docker.launch}
# A file in a server's folder that its guardian holds a lock on as long as it lives.
ALIVE = "alive"


def started(plan: Plan, progress: Progress) -> Server:
    """Start the server and return it when it has loaded, or failed to load, what it was told to.

    Raises ServerError, and leaves nothing behind, where it can't be started.
    """
    attempt = 1
    while True:
        server = _launched(replace(plan, ports=choose_ports(plan.ports)), progress)
        try:
            with progress.step("start", f"starting {server.description}") as step:
                server.wait_until_started(START_SECONDS[plan.runtime])
                step.outcome = f"{server.http_url}, {server.grpc_url}"
            return server
        except BaseException as error:
            stop(server)
            if not isinstance(error, PortTaken) or attempt == ATTEMPTS:
                raise
        attempt += 1


def stop(server: Server) -> None:
    """Let the guardian end the server and clean up, and wait for it."""
    streams = (server.guardian.stdin, server.guardian.stdout)
    for stream in streams:
        if stream:
            stream.close()
    server.guardian.wait()


def _launched(plan: Plan, progress: Progress) -> Server:
    """Lay out what the server needs in a folder of its own, and start it there."""
    runs = runtime.runs_folder()
    scratch = runs / uuid.uuid4().hex[:12]
    try:
        _sweep(runs)
        (scratch / "empty").mkdir(parents=True)
        with (scratch / f"{ALIVE}.new").open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            Path(alive.name).rename(scratch / ALIVE)  # it appears locked, or another's sweep would take it for left
            plan, notes = _with_repository(plan, scratch / "repository")
            return _guarded(LAUNCHERS[plan.runtime](plan, scratch, progress), plan, scratch, alive.fileno(), notes)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        hint = "The variable MODELREPO_CACHE names another folder"
        raise ServerError(f"can't prepare a server in {scratch}: {error}", hint) from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _with_repository(plan: Plan, folder: Path) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan with what is to be served: ``folder``, where it names no repository or needs an overlay."""
    if plan.repository is None:
        folder.mkdir()
        return replace(plan, repository=folder), ()
    if plan.cpu_overlay:
        return replace(plan, repository=folder), overlay.lay(plan.repository, folder)
    return plan, ()


def _sweep(runs: Path) -> None:
    """Remove what guardians that were killed left behind: the folders that nobody holds."""
    for folder in runs.iterdir() if runs.is_dir() else ():
        try:
            with (folder / ALIVE).open("r+") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for region in local.shared_memory(folder):
                    region.unlink(missing_ok=True)
                for temporary in (folder / NOTE).read_text().split() if (folder / NOTE).exists() else ():
                    with suppress(FileNotFoundError):
                        Path(temporary).rmdir()
                shutil.rmtree(folder, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):  # in use; or just being made, or removed
            continue


def _guarded(launch: Launch, plan: Plan, scratch: Path, alive: int, notes: tuple[str, ...]) -> Server:
    running = {folder.name for folder in scratch.parent.iterdir()}
    log = logs.new_file(wheels.cache_folder() / "logs", scratch.name, running)
    order = {
        **asdict(launch),
        "folder": str(scratch / "empty"),
        "scratch": str(scratch),
        "log": str(log),
        "grace": GRACE_SECONDS if plan.graceful or plan.runtime == "docker" else 0,
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
    return Server(plan.ports, plan.served, log, int(first), launch.description, guardian, notes)
