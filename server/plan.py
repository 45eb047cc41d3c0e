"""What a server is asked to be, whatever it runs in."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from generator.errors import ServerError
from server.handle import HOST, Ports

Control = Literal["none", "poll", "explicit"]
# Seconds that Triton gives requests in flight when it is told to stop, and that it gets before it is killed.
EXIT_SECONDS, GRACE_SECONDS = 5, 10.0


@dataclass(frozen=True)
class Plan:
    """A server's repository, what it loads, where it listens, and what it may leave out.

    ``models`` are loaded at the start with ``explicit`` control; the other controls load what is there.
    """

    repository: Path
    control: Control
    models: tuple[str, ...]
    ports: Ports
    poll_seconds: int


def server_flags(plan: Plan, repository: str, host: str, ports: Ports) -> list[str]:
    """Return tritonserver's flags for a plan, with the repository, address and ports as the server sees them."""
    flags = [
        f"--model-repository={repository}",
        f"--model-control-mode={plan.control}",
        *(f"--load-model={name}" for name in plan.models),
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
    if plan.control == "poll":
        flags.append(f"--repository-poll-secs={plan.poll_seconds}")
    return flags


def choose_ports(http: int, grpc: int, metrics: int) -> Ports:
    """Return the ports to listen on; 0 stands for any that is free. ServerError for one that is in use."""
    asked = {"--http-port": http, "--grpc-port": grpc, "--metrics-port": metrics}
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
