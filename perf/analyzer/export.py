"""Reading perf_analyzer's results: its CSV table by column name, and its log if there is no table."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelrepo.generator.errors import PerfError
from modelrepo.perf.results.results import ClientTime, Figures, Latency, ServerTime, Window

LONGEST = 200
NO_END = "no end after"
# perf_analyzer's own failures. Above capacity its count of requests in flight is sometimes wrong, and it waits forever
# for answers that it already has. If the server stalls for a whole window, that window is empty. A file of the user
# that it can't read is never sent.
OWN_FAILURES = (NO_END, "No valid requests recorded", "perf_analyzer's table", "Failed to init manager")
_WINDOW = re.compile(r"Pass \[\d+\] throughput: (\d+(?:\.\d+)?(?:e[+-]?\d+)?) infer/sec\. Avg latency: (\d+) usec")
_REQUESTS = re.compile(r"^\s*Request count: (\d+)", re.MULTILINE)
_DELAYED = re.compile(r"([\d.]+)% of the requests were delayed")
_NOISE = re.compile(r"^(WARNING: Unable to parse|Failed to (retrieve results|maintain requested))")
_THREAD = re.compile(r"^Thread \[\d+\] had error: (\[request id: \S+\] )?")
_PREFIX = re.compile(r"^(cb::Error: |error: )+")


def read_table(path: Path, log: str) -> Figures:
    """Return the figures of a CSV table with one row and the log's number of requests; PerfError for other tables."""
    try:
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file)
        requests = _REQUESTS.search(log)
        delayed = _DELAYED.search(log)
        return Figures(
            throughput=float(row["Inferences/Second"]),
            latency=Latency(*(float(row[f"{name} latency"]) for name in ("Avg", "p50", "p90", "p95", "p99"))),
            server=ServerTime(
                *(_server(row, name) for name in ("Queue", "Compute Input", "Compute Infer", "Compute Output"))
            ),
            client=ClientTime(
                *(float(row[name]) for name in ("Client Send", "Network+Server Send/Recv", "Client Recv"))
            ),
            requests=int(requests[1]) if requests else 0,
            delayed=float(delayed[1]) / 100 if delayed else 0.0,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)[:LONGEST]
        raise PerfError(
            f"perf_analyzer's table {path} can't be read: {said}", "Check that its version is 2.50 or newer"
        ) from error


def _server(row: Mapping[str, str], part: str) -> float:
    """Return a part of the server's time, 0 if its column is missing, as for an ensemble."""
    return float(row.get(f"Server {part}") or 0)


def windows(log: str) -> tuple[Window, ...]:
    """Return the windows in a verbose log, in order."""
    return tuple(Window(float(rate), float(latency)) for rate, latency in _WINDOW.findall(log))


def unsteady(seen: Sequence[Window], percent: float, wanted: int) -> str:
    """Return why windows are not a stable measurement, or an empty text if they are.

    This is perf_analyzer's rule: in its last windows the smallest and the largest throughput, and latency, are within
    ``percent`` of each other.
    """
    if len(seen) < wanted:
        return f"only {len(seen)} of {wanted} windows"
    for name, figures in (
        ("throughput", [window.throughput for window in seen[-wanted:]]),
        ("latency", [window.latency_avg for window in seen[-wanted:]]),
    ):
        apart = (max(figures) / min(figures) - 1) * 100 if min(figures) else float("inf")
        if apart > percent:
            return f"{name} differs by {apart:.0f} % between windows"
    return ""


def complaint(out: str, err: str, code: int) -> str:
    """Return perf_analyzer's error in one line."""
    lines = [line.strip() for line in [*err.splitlines(), *out.splitlines()[-1:]] if line.strip()]
    said = [line for line in lines if not _NOISE.match(line)]
    threads = [_THREAD.sub("", line) for line in said if _THREAD.match(line)]
    found = threads or [_PREFIX.sub("", line) for line in said] or lines
    return found[0].rstrip(".") if found else f"exit code {code}"


def is_own_failure(reason: str) -> bool:
    """Whether perf_analyzer itself failed, and no request."""
    return any(words in reason for words in OWN_FAILURES)
