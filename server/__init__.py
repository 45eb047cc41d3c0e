"""A real Triton as a context manager."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import OptionError, RepositoryError, ServerError, nearest
from modelrepo.generator.progress import Progress
from modelrepo.generator.triton import releases
from modelrepo.server.binaries import runtime
from modelrepo.server.running import docker, foreseen, start
from modelrepo.server.running.called import with_called
from modelrepo.server.running.explained import explained
from modelrepo.server.running.handle import ModelState, Ports, Server
from modelrepo.server.running.spec import Control, ServerSpec, needs_completion

__all__ = ["ModelState", "Ports", "RuntimeName", "Server", "running_server"]

RuntimeName = Literal["auto", "local", "docker"]


@contextmanager
def running_server(
    repository: Path | None,
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
    auto_complete: bool | None = None,
    graceful: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Iterator[Server]:
    """Serve a model repository with a real Triton, on loopback, until the block ends.

    Without a ``repository`` the server gets an empty one of its own. ``runtime`` local is the server binary on this
    machine, docker the image of ``release``, auto the local one if it can run here. ``control`` is Triton's model
    control mode: with explicit, ``models`` are loaded at the start. Port 0 is any free port. ``cpu_overlay`` serves
    models that ask for a GPU on the CPU; ``Server.notes`` lists the changes. ``auto_complete`` lets Triton fill in
    configurations; None does so if the repository has incomplete ones. ``graceful`` lets requests in flight finish.
    Raises RepositoryError if `check` finds that a model will be refused, and ServerError if Triton can't be fetched or
    started, or if a model fails to load; with ``keep_going`` neither for a model.
    """
    if repository and not repository.is_dir():
        raise RepositoryError(f"there is no model repository {repository}", "Name it with --repository")
    if cpu_overlay and _chosen(runtime) == "docker":
        raise OptionError("a CPU overlay is for the local server", "Leave --cpu-overlay or --runtime docker out")
    spec = ServerSpec(
        repository=repository.resolve() if repository else None,
        runtime=_chosen(runtime),
        control=control,
        models=with_called(repository, models) if repository else tuple(models),
        ports=Ports(http_port, grpc_port, metrics_port),
        poll_seconds=poll_seconds,
        release=releases.release_named(release),
        cpu_overlay=cpu_overlay,
        auto_complete=_completes(repository, models, auto_complete),
        graceful=graceful,
    )
    progress = progress or Progress()
    if not keep_going:
        foreseen.refuse_refused(spec)
    elif control == "poll":  # it serves what is right, and takes what is mended later
        for finding in foreseen.refusals(spec):
            progress.warn(foreseen.told(finding, spec))
    server = start.started(spec, progress)
    try:
        if not keep_going:
            _refuse_failed(server, spec.models)
        yield server
    finally:
        start.stop(server)


def _completes(repository: Path | None, models: Sequence[str], asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return repository is not None and needs_completion(repository, models)


def _chosen(name: RuntimeName) -> Literal["local", "docker"]:
    if name != "auto":
        return name
    return "docker" if runtime.unsupported() and docker.available() else "local"


def _refuse_failed(server: Server, wanted: Sequence[str]) -> None:
    states = server.models()
    failed = [state for state in states if state.failed]
    if failed:
        reasons = "; ".join(
            f"{state.name}: {explained(state.reason, server.repository / state.name)}" for state in failed
        )
        raise ServerError(f"Triton can't load {reasons}", f"Its log is {server.log}")
    missing = set(wanted) - {state.name for state in states if state.state == "READY"}
    if missing:
        name, known = min(missing), [state.name for state in states]
        raise ServerError(f"{server.repository} has no model {name!r}", nearest(name, known) if known else "")
