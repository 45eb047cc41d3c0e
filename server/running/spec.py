"""The specification of a server, for any runtime."""

import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import ServerError
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton.releases import Release
from modelrepo.server.running.handle import HOST, Ports

Control = Literal["none", "poll", "explicit"]
# Seconds that Triton gives requests in flight when it is asked to stop, and that Triton gets before it is killed.
EXIT_SECONDS, GRACE_SECONDS = 5, 10.0
# The fields that Triton has to read from a model if a configuration lacks them.
COMPLETE = ("backend", "input", "output")


@dataclass(frozen=True)
class ServerSpec:
    """A server to start: the repository, the runtime, the ports, and how the server ends.

    Without a ``repository`` the server gets an empty one of its own, which is removed with it. ``models`` are loaded at
    the start with ``explicit`` control; the other modes load every model. ``ports`` are those asked for; 0 is any free
    port. ``auto_complete`` lets Triton fill in fields that configurations leave out, which takes a second a model.
    ``graceful`` lets requests in flight be answered before the server ends.
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
        """The repository to serve; ValueError if there is none yet."""
        if self.repository is None:
            raise ValueError("the server has no repository yet")
        return self.repository


def server_flags(spec: ServerSpec, repository: str, host: str, ports: Ports) -> list[str]:
    """Return tritonserver's flags, with the repository, address and ports as the server sees them."""
    return [
        f"--model-repository={repository}",
        f"--model-control-mode={spec.control}",
        *(f"--load-model={name}" for name in spec.models),
        *([f"--repository-poll-secs={spec.poll_seconds}"] if spec.control == "poll" else []),
        *([] if spec.auto_complete else ["--disable-auto-complete-config"]),
        # We report every failed model with its reason, after all have been tried.
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
    """Whether a configuration lacks its backend, inputs or outputs, so that Triton has to fill them in.

    Checks ``models``, or every model if there are none.
    """
    return any(not _is_complete(repository / name) for name in models or [path.name for path in repository.iterdir()])


def _is_complete(model: Path) -> bool:
    try:
        text = (model / CONFIG).read_text("utf-8", errors="replace")
    except NotADirectoryError:  # a file beside the models
        return True
    except OSError:  # missing or unreadable: Triton reports it
        return False
    return all(re.search(rf"^\s*{field}\b", text, re.MULTILINE) for field in COMPLETE)


def choose_ports(wanted: Ports) -> Ports:
    """Return the ports to listen on, a free one for each 0; ServerError for a port that is in use."""
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
            f"Choose another port with {flag}; 0 takes any free one",
        ) from error
    return int(listener.getsockname()[1])
