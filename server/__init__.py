"""A real Triton as a context manager, and the Python-based backends it serves with here."""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from generator import releases
from generator.backends.tensorrt import gpu_present
from generator.errors import RepositoryError, ServerError
from generator.progress import Progress
from server import docker, local, overlay, runtime
from server import log as logs
from server.handle import ModelState, Ports, Server
from server.plan import GRACE_SECONDS, Control, Plan, choose_ports

__all__ = ["ModelState", "Ports", "Server", "failed_models", "running_server"]

RuntimeName = Literal["auto", "local", "docker"]
START_SECONDS = 600.0
# A free port may be taken by someone else before Triton takes it.
ATTEMPTS = 3


@contextmanager
def running_server(
    repository: Path,
    *,
    runtime: RuntimeName = "auto",
    control: Control = "none",
    models: Sequence[str] = (),
    http_port: int = 0,
    grpc_port: int = 0,
    metrics_port: int = 0,
    poll_seconds: int = 15,
    release: str = releases.NEWEST,
    cpu_overlay: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Iterator[Server]:
    """Serve a model repository with a real Triton, on loopback, until the block ends.

    ``runtime`` local is the server binary on this machine, docker is the image of ``release``, auto is local where
    that can run. ``control`` is Triton's: with explicit, ``models`` are loaded at the start. Port 0 is any free one.
    ``cpu_overlay`` serves models that ask for a GPU without one; ``Server.notes`` says what was changed. Raises
    ServerError where Triton can't be had or started, or where a model fails to load, unless ``keep_going``.
    """
    progress = progress or Progress()
    if not repository.is_dir():
        raise RepositoryError(f"there is no model repository {repository}", "Name it with --repository")
    asked = (http_port, grpc_port, metrics_port)
    plan = Plan(repository.resolve(), control, tuple(models), Ports(*asked), poll_seconds)
    server = _start(plan, asked, _chosen(runtime), releases.release_named(release), cpu_overlay, progress)
    try:
        if not keep_going:
            _refuse_failed(server)
        yield server
    finally:
        _stop(server)


def failed_models(server: Server) -> tuple[ModelState, ...]:
    """Return the models that Triton could not load, each with its reason."""
    return tuple(state for state in server.models() if state.failed)


def _chosen(name: RuntimeName) -> Literal["local", "docker"]:
    if name != "auto":
        return name
    return "docker" if runtime.unsupported() and docker.available() else "local"


def _start(
    plan: Plan,
    asked: tuple[int, int, int],
    chosen: Literal["local", "docker"],
    release: releases.Release,
    cpu_overlay: bool,
    progress: Progress,
) -> Server:
    for attempt in range(1, ATTEMPTS + 1):
        plan = replace(plan, ports=choose_ports(*asked))
        scratch = runtime.cache_folder() / "runs" / uuid.uuid4().hex[:12]
        scratch.mkdir(parents=True)
        notes: tuple[str, ...] = ()
        try:
            if cpu_overlay:
                notes = overlay.lay(plan.repository, scratch / "repository")
                plan = replace(plan, repository=scratch / "repository")
            if chosen == "local":
                launch = local.launch(plan, scratch, progress)
            else:
                launch = docker.launch(plan, scratch, release, gpu_present())
            server = _guarded(launch, plan.ports, scratch, notes)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        try:
            with progress.step("start", f"starting {launch.description}") as step:
                server.wait_until_started(START_SECONDS)
                step.outcome = f"{server.http_url}, {server.grpc_url}"
        except BaseException as error:
            _stop(server)
            if isinstance(error, ServerError) and "in use" in str(error) and attempt < ATTEMPTS and 0 in asked:
                continue
            raise
        return server
    raise AssertionError("the last attempt returns or raises")


def _guarded(launch: local.Launch, ports: Ports, scratch: Path, notes: tuple[str, ...]) -> Server:
    (scratch / "empty").mkdir()
    log = logs.new_file(runtime.cache_folder() / "logs", scratch.name)
    order = {
        **asdict(launch),
        "folder": str(scratch / "empty"),
        "scratch": str(scratch),
        "log": str(log),
        "grace": GRACE_SECONDS,
    }
    guardian = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(Path(__file__).parent / "guardian.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert guardian.stdin is not None
    assert guardian.stdout is not None
    guardian.stdin.write(json.dumps(order).encode() + b"\n")
    guardian.stdin.flush()
    first = guardian.stdout.readline()
    if not first:
        raise ServerError(f"can't start {launch.command[0]}", f"Its log is {log}")
    return Server(ports, log, int(first), guardian, launch.description, notes)


def _stop(server: Server) -> None:
    """Tell the guardian to end the server and clean up, and wait for it."""
    assert server.guardian.stdin is not None
    assert server.guardian.stdout is not None
    server.guardian.stdin.close()
    server.guardian.wait()
    server.guardian.stdout.close()


def _refuse_failed(server: Server) -> None:
    failed = failed_models(server)
    if failed:
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise ServerError(
            f"Triton can't load {failed[0].name}: {failed[0].reason}{others}", f"Its log is {server.log}"
        )
