"""The page of what faults leave behind, docs/reference/reliability.md."""

import platform
import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from modelrepo.server.binaries.wheels import PYTRITON
from tests.conftest import PROJECT
from tests.reliability.rows import Row

PAGE = PROJECT / "docs/reference/reliability.md"
WIDTH = 120
HEAD = """# What a fault leaves behind

<!-- Made by: make reliability -->

"""
KILLED = (
    "Commands are killed with SIGKILL at every call that changes a file (before `fsync`, `rename`, `unlink`, "
    "`mkdir`, … and in the middle of a `write`), and at random times. The calls are found by tracing: a library "
    "that is loaded before the C library counts them. After each kill, the served versions must be the old or the "
    "new ones, whole; the root must hold nothing else; `versions` must answer; and the next command must end as "
    "it does without a kill, with nothing left over. That is the same command, or at every third point `generate` "
    "of another version. Every state of a repository that differs from the others is loaded by the real Triton, "
    "and each served version must give its own answer."
)
FAILING = (
    "The file system fails at each call that changes a file: full (ENOSPC) or over quota (EDQUOT) from then on, "
    "read-only (EROFS) from then on, or broken once (EIO). The command must end with exit code 6 and one line "
    "that names the reason, and leave the repository as it was; on a file system that became read-only in "
    "between, the old or the new version is served, whole; and of several versions or models that are removed, "
    "some may be gone. A fault while a finished command cleans up may be ignored: it then ends with 0, and all is "
    "done. After every third failure, the same command must succeed once the fault has gone."
)
WRITERS = (
    "Eight processes at once generate, roll back, promote and prune, on one model and on two. Every version must "
    "be given to one writer, be whole and have its record; nothing may hang or be left over; and Triton must "
    "serve the outcome. Some are killed at a random call: their locks die with them. The second namespace "
    "(`unshare` of mounts and process numbers) sees the folder at another path."
)
LOAD = (
    "Three clients ask the real Triton over gRPC, without retries, while versions are published, rolled back, "
    "promoted and pruned. An answer must be that of a version that was published. In explicit mode the model is "
    "loaded after each change, and the next answer must be of the served version; in poll mode (every second) it "
    "must be after a while."
)
NEVER = (
    "a loss of power, or of the disk's cache: SIGKILL leaves what was written in memory",
    "two machines: the namespaces share a kernel. Locks are `flock`; NFS (version 4, or 3 with its lock "
    "service) and SMB pass it to their servers, which release it some time after a client has died. A file "
    "system without `flock` is refused",
    "object stores, FAT and network file systems",
    "NVIDIA's own ONNX Runtime backend, and TensorRT: the server is on a machine without a GPU, with our "
    "backend in Python",
    "real quotas and broken disks: the library that counts the calls lets them fail; a full one is a real "
    "tmpfs as well",
)


def page(rows: Sequence[Row], left_out: Sequence[str] = ()) -> str:
    """Return the text of the page; ``left_out`` are the keys of parts that have no row."""
    parts = [_killed(rows), _failing(rows), _writers(rows), _load(rows)]
    faults = [f"{row.key}: {fault}" for row in rows for fault in row.faults]
    points = sum(row.counts["points"] for row in rows if row.key.startswith(("killed/", "failing/")))
    requests = sum(row.counts["requests"] for row in rows if row.key.startswith("load/"))
    figure = (
        f"**{points} kills and failures, {requests} requests under load; lost or broken: {len(faults)}.** "
        f"Measured {datetime.now(UTC):%Y-%m-%d} with Triton {PYTRITON.version}, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"onnxruntime {metadata.version('onnxruntime')}, "
        f"filelock {metadata.version('filelock')}."
    )
    sampled = "A row with fewer kills or failures than calls is of a part of them, in equal steps (`--stride`)."
    wrong = "".join(f"- {' '.join(each.split())[:300]}\n" for each in faults) or "None.\n"
    missing = [f"in this run: {'; '.join(left_out)}"] if left_out else []
    never = "".join(f"{_item(each)}\n" for each in (*NEVER, *missing))
    return (
        f"{HEAD}{_filled(figure)}\n\n{_filled(sampled)}\n\n{''.join(filter(None, parts))}"
        f"## Lost or broken\n\n{wrong}\n## Never run\n\n{never}"
    )


def _killed(rows: Sequence[Row]) -> str:
    mine = _of(rows, "killed/")
    kinds = sum((Counter(row.kinds) for row in mine), Counter[str]())
    told = ", ".join(f"{count} at {kind}" for kind, count in kinds.most_common())
    return _part(
        "Killed",
        KILLED,
        ("command", "calls", "kills", "states that Triton loaded", "faults"),
        [_line(row, "calls", "points", "states") for row in mine],
        f"By call: {told}." if told else "",
    )


def _failing(rows: Sequence[Row]) -> str:
    mine = _of(rows, "failing/")
    kinds = sum((Counter(row.kinds) for row in mine), Counter[str]())
    told = ", ".join(f"{kind}: {count}" for kind, count in kinds.items())
    return _part(
        "A file system that fails",
        FAILING,
        ("command", "calls", "failures", "ended with 6", "faults"),
        [_line(row, "calls", "points", "refused") for row in mine],
        f"By error: {told}." if told else "",
    )


def _writers(rows: Sequence[Row]) -> str:
    names = ("rounds", "writers", "published", "refused", "killed")
    mine = _of(rows, "writers/")
    lines = [_line(row, *names) for row in mine]
    return _part("Writers at once", WRITERS, ("eight writers", *names, "faults"), lines)


def _load(rows: Sequence[Row]) -> str:
    names = ("published", "rollbacks", "promotions", "pruned", "requests", "failed", "wrong")
    mine = _of(rows, "load/")
    lines = [_line(row, *names) for row in mine]
    return _part("Servers under load", LOAD, ("control", *names, "faults"), lines)


def _of(rows: Sequence[Row], start: str) -> list[Row]:
    return [row for row in rows if row.key.startswith(start)]


def _line(row: Row, *names: str) -> tuple[object, ...]:
    return row.key.partition("/")[2], *(row.counts[name] for name in names), len(row.faults)


def _part(title: str, text: str, columns: Sequence[str], rows: Sequence[Sequence[object]], after: str = "") -> str:
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    lines = "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
    last = f"\n{_filled(after)}\n" if after else ""
    return f"## {title}\n\n{_filled(text)}\n\n{head}{lines}{last}\n"


def _item(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
