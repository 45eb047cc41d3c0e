"""Starting a planned server under its guardian, and stopping it."""

import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from generator.errors import ServerError
from generator.progress import Progress
from server import docker, local, overlay, runtime
from server import log as logs
from server.handle import Server
from server.local import Launch
from server.plan import GRACE_SECONDS, NONE, Plan, choose_ports

START_SECONDS = 600.0
# A port that was free may be taken by someone else before Triton takes it.
ATTEMPTS = 3
LAUNCHERS = {"local": local.launch, "docker": docker.launch}


def started(plan: Plan, progress: Progress) -> Server:
    """Start the server and return it when it has loaded, or failed to load, what it was told to.

    Raises ServerError, and leaves nothing behind, where it can't be started.
    """
    for attempt in range(1, ATTEMPTS + 1):
        server = _launched(replace(plan, ports=choose_ports(plan.ports)), progress)
        try:
            with progress.step("start", f"starting {server.description}") as step:
                server.wait_until_started(START_SECONDS)
                step.outcome = f"{server.http_url}, {server.grpc_url}"
        except BaseException as error:
            stop(server)
            if isinstance(error, ServerError) and "in use" in error.message and attempt < ATTEMPTS:
                continue
            raise
        return server
    raise AssertionError("the last attempt returns or raises")


def stop(server: Server) -> None:
    """Let the guardian end the server and clean up, and wait for it."""
    streams = (server.guardian.stdin, server.guardian.stdout)
    for stream in streams:
        if stream:
            stream.close()
    server.guardian.wait()


def _launched(plan: Plan, progress: Progress) -> Server:
    """Lay out what the server needs in a folder of its own, and start it there."""
    scratch = runtime.cache_folder() / "runs" / uuid.uuid4().hex[:12]
    try:
        (scratch / "empty").mkdir(parents=True)
        notes: tuple[str, ...] = ()
        if plan.repository == NONE:
            plan = replace(plan, repository=scratch / "repository")
            plan.repository.mkdir()
        elif plan.cpu_overlay:
            notes = overlay.lay(plan.repository, scratch / "repository")
            plan = replace(plan, repository=scratch / "repository")
        launch = LAUNCHERS[plan.runtime](plan, scratch, progress)
        return _guarded(launch, plan, scratch, notes)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise ServerError(
            f"can't prepare a server in {scratch}: {error}", "MODELREPO_CACHE names another folder"
        ) from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _guarded(launch: Launch, plan: Plan, scratch: Path, notes: tuple[str, ...]) -> Server:
    running = {folder.name for folder in scratch.parent.iterdir()}
    log = logs.new_file(runtime.cache_folder() / "logs", scratch.name, running)
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
    )
    first = b""
    if guardian.stdin and guardian.stdout:  # as they were asked for
        guardian.stdin.write(json.dumps(order).encode() + b"\n")
        guardian.stdin.flush()
        first = guardian.stdout.readline()
    if not first:
        raise ServerError(f"can't start {launch.command[0]}", "Its error is above")
    return Server(plan.ports, plan.repository, log, int(first), launch.description, guardian, notes)
