"""The memory that is left for a model, checked before its weights are read: a killed process reports no error."""

import ctypes
import gc
import resource
from collections.abc import Iterator
from pathlib import Path

from modelrepo.generator.errors import SourceError

# The source has its weights in memory, and ONNX Runtime those of the converted model; half as much again is used for
# computing. benchmarks/README.md has the measurements.
TIMES_THE_WEIGHTS = 2.5
# The files of a control group, in version 2 and in version 1: the limit, the usage, and the part of it that is file
# cache, which can be freed. Version 1 writes a number near 2^63 if there is no limit.
GROUPS = (
    ("", "memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)
# Limits of a process, and the field of /proc/self/status that counts against each.
LIMITS = {resource.RLIMIT_AS: "VmSize", resource.RLIMIT_DATA: "VmData"}


def check(weights: int, reference: str, times: float = TIMES_THE_WEIGHTS) -> None:
    """Raise SourceError if a model with this many bytes of weights does not fit into the memory that is left.

    Its conversion takes ``times`` as much.
    """
    free, wanted = available(), int(weights * times)
    if wanted > free:
        raise SourceError(
            f"{reference} has {_gigabytes(weights)} of weights, which takes about {_gigabytes(wanted)} of memory; "
            f"{_gigabytes(free)} are free",
            "Free some, raise the container's limit, or generate it on a larger machine: the result is the same",
        )


def available(root: Path = Path("/")) -> int:
    """Return how many bytes this process can still allocate: the least that the machine and its limits leave.

    The limits are those of its control groups and of ``ulimit``. ``root`` is where /proc and /sys are.
    """
    machine = _fields(root / "proc/meminfo")["MemAvailable"] * 1024
    return max(0, min((machine, *_left_by_groups(root), *_left_by_limits(root))))


def give_back() -> None:
    """Return the memory of earlier steps to the system; glibc's allocator would keep blocks below 32 MB."""
    gc.collect()  # graphs of models have reference cycles
    trim()


def trim() -> None:
    """Like ``give_back``, but within milliseconds: objects in reference cycles are not freed."""
    give = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if give:
        give(0)


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yield the bytes that each control group above this process leaves; a container may not see all of them."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        mounted, limit, used, cache = GROUPS[0] if number == "0" else GROUPS[1]
        if number != "0" and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / mounted
        lowest = top / path.lstrip("/")
        for folder in (lowest, *(above for above in lowest.parents if above.is_relative_to(top))):
            written = _text(folder / limit)
            if written.isdigit():
                statistics = _fields(folder / "memory.stat")
                yield int(written) - int(_text(folder / used)) + sum(statistics.get(name, 0) for name in cache)


def _left_by_limits(root: Path) -> Iterator[int]:
    status = _fields(root / "proc/self/status")
    for limit, name in LIMITS.items():
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            yield soft - status[name] * 1024


def _text(path: Path) -> str:
    """Return the text of a kernel file; empty if the file does not exist."""
    return path.read_text().strip() if path.exists() else ""


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a kernel file with lines such as ``name: number kB`` or ``name number``."""
    words = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {name: int(values[0]) for name, *values in words if values and values[0].isdigit()}


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
