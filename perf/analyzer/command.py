"""perf_analyzer's command line, from typed options."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelrepo.clients.settings import Address
from modelrepo.perf.results.loads import Load

SharedMemory = Literal["none", "system"]
# perf_analyzer gives figures only if its last three windows agree, and no figures at all if they never do. So it runs
# for three windows in any case, and its rule is applied to them afterwards: see export.py.
WINDOWS = 3
ANY_SPREAD = "999999"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


@dataclass(frozen=True)
class Request:
    """One run of perf_analyzer: the model, the server, the load, and the length of a window.

    ``data`` is the JSON file with its input data, ``table`` the CSV file that it writes. ``output_bytes`` is the room
    for an output in shared memory.
    """

    model: str
    version: str
    address: Address
    load: Load
    window_seconds: float
    data: Path
    table: Path
    shared_memory: SharedMemory = "none"
    output_bytes: int = 0


def arguments(request: Request) -> tuple[str, ...]:
    """Return the arguments of a run, verbose so that every window is printed.

    Requests are sent asynchronously: the synchronous client uses a thread for each of them.
    """
    return (
        *("-m", request.model, *(("-x", request.version) if request.version else ())),
        *(
            "-i",
            request.address.protocol,
            "-u",
            f"{request.address.netloc}{request.address.path}",
            *_tls(request.address),
        ),
        *("-a", "-b", str(request.load.batch_size), *_load(request)),
        *("--input-data", str(request.data), *_shared_memory(request)),
        *("--measurement-interval", str(round(request.window_seconds * 1e3))),
        *("--stability-percentage", ANY_SPREAD, "--max-trials", str(WINDOWS)),
        *("-v", "--verbose-csv", "-f", str(request.table)),
    )


def _tls(address: Address) -> tuple[str, ...]:
    if not address.secure:
        return ()
    return ("--ssl-grpc-use-ssl", "true") if address.protocol == "grpc" else ("--ssl-https-verify-peer", "1")


def _load(request: Request) -> tuple[str, ...]:
    load = request.load
    if load.request_rate is None:
        return "--concurrency-range", str(load.concurrency)
    return "--request-rate-range", f"{load.request_rate:.10g}", "--request-distribution", load.arrivals


def _shared_memory(request: Request) -> tuple[str, ...]:
    if request.shared_memory == "none":
        return ()
    return "--shared-memory", request.shared_memory, "--output-shared-memory-size", str(request.output_bytes)


def proxies() -> tuple[str, ...]:
    """Return this process's variables with a proxy that perf_analyzer would use."""
    return tuple(name for name in os.environ if name.lower() in PROXIES)


def written(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a command that can be copied into a shell, with the variables that differ from this process's."""
    without = [f"-u {name}" for name in proxies()]
    own = [f"{name}={shlex.quote(value)}" for name, value in environment.items() if os.environ.get(name) != value]
    return " ".join([*(["env", *without] if without else []), *own, shlex.join(command)])
