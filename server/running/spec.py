"""The specification of a server, for any runtime."""

import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import ServerError
from modelrepo.generator.triton.releases import Release
from modelrepo.server.running.handle import HOST, Ports

Control = Literal["none", "poll", "explicit"]
# Seconds that Triton gives requests in flight when it is told to stop, and that it gets before it is killed.
EXIT_SECONDS, GRACE_SECONDS = 5, 10.0
# The fields without which Triton has to look into a model.
COMPLETE = ("backend", "input", "output")


@dataclass(frozen=True)
class ServerSpec:
    """What is served, by what, where it listens, and how it ends.

    Without a ``repository`` the server gets an empty one of its own, which ends with it.
    ``models`` are loaded at the start with ``explicit`` control; the other controls load what is there. ``ports`` are
    those asked for; 0 is any free one. ``auto_complete`` lets Triton fill in what configurations leave out, which
    costs a second for each model. ``graceful`` lets requests in flight be answered before the server ends.
    """

    repository: Path | None
    runtime: Literal["local", "docker"]
    control: Control
    models: tuple[str, ...]
    ports: Ports
    poll_seconds: int
    release: Release
    cpu_overlay: bool
    auto_complete: bool
    graceful: bool

    @property
    def served(self) -> Path:
        """The repository, once there is one."""
        if self.repository is None:
            raise ValueError("the server has no repository yet")
        return self.repository


def server_flags(spec: ServerSpec, repository: str, host: str, ports: Ports) -> list[str]:
    """Return tritonserver's flags for a spec, with the repository, address and ports as the server sees them."""
    return [
        f"--model-repository={repository}",
        f"--model-control-mode={spec.control}",
        *(f"--load-model={name}" for name in spec.models),
        *([f"--repository-poll-secs={spec.poll_seconds}"] if spec.control == "poll" else []),
        *([] if spec.auto_complete else ["--disable-auto-complete-config"]),
        # A failed model is told with its reason, by us, once all have been tried.
        "--exit-on-error=false",
        f"--exit-timeout-secs={EXIT_SECONDS}",
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
    ]


def needs_completion(repository: Path, models: Sequence[str] = ()) -> bool:
    """Tell whether a configuration leaves out what Triton would have to fill in: backend, inputs or outputs.

    Looks at the ``models`` that are named, or at all.
    """
    return any(not _is_complete(repository / name) for name in models or [path.name for path in repository.iterdir()])


def _is_complete(model: Path) -> bool:
    try:
        text = (model / "config.pbtxt").read_text("utf-8", errors="replace")
    except NotADirectoryError:  # a file beside the models
        return True
    except OSError:  # none, or not for us to read: Triton says what is wrong
        return False
    return all(re.search(rf"^\s*{field}\b", text, re.MULTILINE) for field in COMPLETE)


def choose_ports(wanted: Ports) -> Ports:
    """Return the ports to listen on; 0 stands for any that is free. ServerError for one that is in use."""
    asked = {"--http-port": wanted.http, "--grpc-port": wanted.grpc, "--metrics-port": wanted.metrics}
    with ExitStack() as held:
        return Ports(*(_bound(held, flag, port) for flag, port in asked.items()))


def _bound(held: ExitStack, flag: str, port: int) -> int:
    listener = held.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        raise ServerError(
            f"can't listen on port {port}: {(error.strerror or str(error)).lower()}",
            f"Choose another with {flag}; 0 takes any that is free",
        ) from error
    return int(listener.getsockname()[1])
