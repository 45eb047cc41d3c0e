"""One run of perf_analyzer, and what is measured beside it: Triton's statistics and metrics, this machine's load."""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelrepo.clients import Client
from modelrepo.clients.errors import ClientError
from modelrepo.generator.errors import PerfError
from modelrepo.generator.system import process
from modelrepo.perf.analyzer import export
from modelrepo.perf.analyzer.command import WINDOWS, Request, SharedMemory, arguments, proxies, written
from modelrepo.perf.analyzer.find import Analyzer
from modelrepo.perf.measuring import machine, metrics
from modelrepo.perf.measuring.target import Target, short
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import AnalyzerRun, Figures, Window

# Seconds for perf_analyzer's start and end, and for each second of a run the time for requests that have piled up.
PATIENCE_SECONDS, PATIENCE_FACTOR = 30.0, 5.0
# The least requests in a window of a slow model. perf_analyzer fails if a window has none.
REQUESTS_PER_WINDOW = 5
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - perf_analyzer makes its regions here


@dataclass(frozen=True)
class Setting:
    """The settings of all runs.

    ``seconds`` are those of the three windows together, ``stability`` the percentage within which they must agree.
    When ``stop`` is set, perf_analyzer is killed and ``process.Stopped`` raised. This ends threads that an interrupt
    does not reach.
    """

    analyzer: Analyzer
    client: Client
    metrics_url: str | None
    folder: Path
    seconds: float
    stability: float
    shared_memory: SharedMemory = "none"
    stop: threading.Event | None = None


@dataclass(frozen=True)
class Counts:
    """A model version's counts since it was loaded: requests by outcome, and executions by batch size."""

    answered: int
    failed: int
    batches: Mapping[int, int]


def counts(client: Client, model: str, version: str) -> Counts:
    """Return the counts of Triton's statistics; ClientError if it does not answer."""
    (found,) = client.statistics(model, version)
    batches = {each.batch_size: each.compute_infer.count for each in found.batches}
    return Counts(found.success.count, found.fail.count, batches)


def window_seconds(target: Target, load: Load, seconds: float) -> float:
    """Return the length of a window, longer if fewer than REQUESTS_PER_WINDOW requests would end in it."""
    needed = REQUESTS_PER_WINDOW * target.seconds * max(1, load.batch_size)
    if load.request_rate:
        needed = max(needed, REQUESTS_PER_WINDOW / load.request_rate)
    return max(seconds / WINDOWS, needed)


def name_of(target: Target, load: Load) -> str:
    """Return the name of a run's files."""
    subject = target.subject
    kind = f"c{load.concurrency}" if load.concurrency else f"r{load.request_rate:.10g}"
    return f"{short(subject.model)}-{subject.version}-{subject.protocol}-{kind}-b{load.batch_size}"


def request_of(setting: Setting, target: Target, load: Load) -> Request:
    """Return the request for perf_analyzer."""
    return Request(
        model=target.subject.model,
        version=target.subject.version,
        address=target.address,
        load=load,
        window_seconds=window_seconds(target, load, setting.seconds),
        data=target.data,
        table=setting.folder / "raw" / f"{name_of(target, load)}.csv",
        shared_memory=setting.shared_memory,
        output_bytes=target.output_bytes,
    )


def run(setting: Setting, target: Target, request: Request, number: int, again: bool = False) -> AnalyzerRun:
    """Run perf_analyzer once and keep its output; if it fails, the result has no figures but a reason.

    ``number`` is the round's, ``again`` is True if the same was measured in it before. Raises PerfError if
    perf_analyzer can't be started, or its output can't be written.
    """
    command = (*setting.analyzer.command, *arguments(request))
    request.table.unlink(missing_ok=True)
    regions = _regions(setting, target)
    before = _counts_or_none(setting.client, target)
    watch = machine.Watch()
    try:
        with metrics.Watch(setting.metrics_url) as gauges:
            done = _finished(command, setting, request.window_seconds * WINDOWS)
    except BaseException:
        _give_back(setting.client, regions)
        raise
    if done.code:
        _give_back(setting.client, regions)
    after = _counts_or_none(setting.client, target)
    log = _keep(request.table, done, number, again)
    figures, windows, reason = _read(done, log, setting.stability)
    answered, failed, batches = _difference(before, after, figures)
    return AnalyzerRun(
        subject=target.subject,
        load=request.load,
        round=number,
        command=written(command, setting.analyzer.environment),
        log=str(log.relative_to(setting.folder)),
        figures=figures,
        windows=windows,
        batches=batches,
        answered=answered,
        # It ends at the first failed request. A server that is gone, or never saw that request, can't count it.
        failed=max(failed, 1) if figures is None and not export.is_own_failure(reason) else failed,
        machine=watch.load(),
        metrics=gauges.gauges(),
        stable=not reason,
        reason=reason,
        again=again,
    )


def _regions(setting: Setting, target: Target) -> list[str]:
    """Return the shared-memory regions that perf_analyzer will make: named after the tensors, and not there yet."""
    if setting.shared_memory == "none":
        return []
    inputs = (f"{tensor.name}_0_{row}" for tensor in target.model.inputs for row in range(max(1, len(target.rows))))
    names = (*inputs, *(tensor.name for tensor in target.model.outputs))
    return [name for name in names if "/" not in name and not (SHARED_MEMORY / name).exists()]


def _give_back(client: Client, regions: Sequence[str]) -> None:
    """Remove the regions that a perf_analyzer left behind when it was killed, or failed."""
    for name in regions:
        with suppress(ClientError):  # a server that is gone keeps nothing
            client.unregister_shared_memory(name)
        with suppress(OSError):  # another user's region
            (SHARED_MEMORY / name).unlink(missing_ok=True)


def _read(done: process.Finished, log: Path, stability: float) -> tuple[Figures | None, tuple[Window, ...], str]:
    """Return the figures and windows of a run, and why they are not reliable; empty if they are."""
    windows = export.windows(done.out)
    if done.code:
        return None, windows, f"perf_analyzer: {export.complaint(done.out, done.err, done.code)}"
    try:
        figures = export.read_table(log.with_suffix(".csv"), done.out)
    except PerfError as error:
        return None, windows, error.message
    return figures, windows, export.unsteady(windows, stability, WINDOWS)


def _finished(command: tuple[str, ...], setting: Setting, seconds: float) -> process.Finished:
    # No proxy between a benchmark and its server, even if the environment names one.
    own = {name: value for name, value in os.environ.items() if name not in proxies()}
    environment = {**own, **setting.analyzer.environment}
    seconds += PATIENCE_SECONDS + PATIENCE_FACTOR * seconds
    try:
        return process.run(command, timeout=seconds, environment=environment, stop=setting.stop)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        return process.Finished(command, 124, said, f"{export.NO_END} {seconds:.0f} seconds, so it was killed")
    except OSError as error:
        raise PerfError(f"can't start {command[0]}: {error.strerror}", "See `modelrepo doctor`") from error


def _keep(table: Path, done: process.Finished, number: int, again: bool) -> Path:
    """Write the log, and keep the table if there is one, under the round's number, beside those of earlier tries."""
    for attempt in range(1, 1000):
        log = table.with_name(f"{table.stem}-round{number}{'-again' * again}{f'-try{attempt}' * (attempt > 1)}.log")
        if not log.exists():
            break
    try:
        log.write_text(f"$ {' '.join(done.command)}\n{done.out}\n{done.err}", "utf-8")
        if table.exists():
            table.rename(log.with_suffix(".csv"))
    except OSError as error:
        raise PerfError(
            f"can't write {log}: {error.strerror}", "Make room, or name another folder: --output"
        ) from error
    return log


def _counts_or_none(client: Client, target: Target) -> Counts | None:
    """Return the counts, or None if the server is gone. The caller of the run checks that."""
    try:
        return counts(client, target.subject.model, target.subject.version)
    except ClientError:
        return None


def _difference(
    before: Counts | None, after: Counts | None, figures: Figures | None
) -> tuple[int, int, dict[int, int]]:
    if before is None or after is None:
        return (figures.requests if figures else 0), 0, {}
    batches = {size: count - before.batches.get(size, 0) for size, count in after.batches.items()}
    return (
        after.answered - before.answered,
        after.failed - before.failed,
        {size: count for size, count in sorted(batches.items()) if count > 0},
    )
