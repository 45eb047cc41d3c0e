"""The results of a benchmark as frozen dataclasses: runs, measurements, and comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelrepo.perf.results.loads import Load, Slo

Verdict = Literal["better", "worse", "noise", "unknown"]


@dataclass(frozen=True)
class Subject:
    """A version of a served model that is measured over one protocol (``grpc`` or ``http``).

    ``precision`` is fp32, fp16, …, or None if it is not known.
    """

    model: str
    version: str
    backend: str
    precision: str | None
    protocol: str


@dataclass(frozen=True)
class Latency:
    """The time that clients waited for a request, in microseconds."""

    avg: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class ServerTime:
    """The parts of a request's time inside Triton, in microseconds on average."""

    queue: float
    compute_input: float
    compute_infer: float
    compute_output: float


@dataclass(frozen=True)
class ClientTime:
    """The parts of a request's time outside Triton's, in microseconds on average.

    ``network`` is neither the client's nor one of the server's parts: the connection, and the server's transport.
    """

    send: float
    network: float
    receive: float


@dataclass(frozen=True)
class Figures:
    """The figures of perf_analyzer: ``throughput`` counts inferences (samples) a second, ``requests`` requests.

    ``delayed`` is the share of requests, 0 to 1, that the client could not send in time.
    """

    throughput: float
    latency: Latency
    server: ServerTime
    client: ClientTime
    requests: int
    delayed: float = 0.0


@dataclass(frozen=True)
class Window:
    """One of perf_analyzer's windows: inferences a second, and the mean latency in microseconds."""

    throughput: float
    latency_avg: float


@dataclass(frozen=True)
class MachineLoad:
    """The load of this machine during a run: shares of all CPU time, 0 to 1, and the load average at its end.

    ``steal`` was taken by other guests of the same host; ``busy`` is everything but idle.
    """

    steal: float
    busy: float
    load_average: float


@dataclass(frozen=True)
class Gauge:
    """The mean and the maximum of one of Triton's metrics during a run."""

    mean: float
    most: float


@dataclass(frozen=True)
class AnalyzerRun:
    """One run of perf_analyzer. ``figures`` is None if it gave none; ``reason`` says why, or why it is unstable.

    ``batches`` counts Triton's executions by batch size, ``failed`` its failed requests, at least 1 if perf_analyzer
    reported one. ``log`` is the file of its output, relative to the report.
    """

    subject: Subject
    load: Load
    round: int
    command: str
    log: str
    figures: Figures | None
    windows: tuple[Window, ...]
    batches: Mapping[int, int]
    answered: int
    failed: int
    machine: MachineLoad
    metrics: Mapping[str, Gauge]
    stable: bool
    reason: str = ""
    again: bool = False  # the baseline a second time in the same round, for the noise
    counts: bool = True  # False if it was repeated because the machine was disturbed or the load unsteady


@dataclass(frozen=True)
class Repeat:
    """The figures of one run that counts."""

    throughput: float
    latency: Latency


@dataclass(frozen=True)
class Measurement:
    """A subject under a load, over all its rounds: ``figures`` are medians of the runs that count.

    ``figures`` is None if no run gave any. ``stable`` is False if a round has no stable run; then unstable ones count
    too, and ``reason`` says why. ``discarded`` runs were repeated because the machine was disturbed or the load
    unsteady. ``phase`` is that of a scenario.
    """

    subject: Subject
    load: Load
    figures: Figures | None
    repeats: tuple[Repeat, ...]
    discarded: int
    stable: bool
    failed: int
    batches: Mapping[int, int]
    machine: MachineLoad
    metrics: Mapping[str, Gauge]
    commands: tuple[str, ...]
    reason: str = ""
    phase: str = ""


@dataclass(frozen=True)
class Ratio:
    """A ratio with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A subject against the baseline, the first subject, under the same load.

    ``ratio`` is the subject's figure over the baseline's, ``noise`` the baseline's over itself, measured twice in every
    round. The verdict is noise unless the ratio is beyond both. ``stable`` is False if a measurement of either is
    unstable, which widens both intervals.
    """

    metric: Literal["throughput", "p50", "p99"]
    load: Load
    subject: Subject
    baseline: Subject
    ratio: Ratio | None
    noise: Ratio | None
    verdict: Verdict
    stable: bool = True


@dataclass(frozen=True)
class InProcess:
    """A model called with ``batch_size`` samples in the source framework, in ONNX Runtime, or served.

    Latencies are in microseconds for a call, ``throughput`` in samples a second. ``memory_bytes`` is the most that its
    processes held, None if they are not on this machine. ``speed_up`` is the source framework's p50 over its own.
    """

    model: str
    framework: str
    batch_size: int
    mean: float
    p50: float
    p95: float
    p99: float
    throughput: float
    memory_bytes: int | None
    speed_up: Ratio | None


@dataclass(frozen=True)
class Requests:
    """Counts of requests: ``sent`` is ``answered`` plus ``failed``; of the ``checked`` answers ``wrong`` differed."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    checked: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class ScenarioOutcome:
    """The outcome of a load test: ``breaches`` lists the limits that were broken, and is empty if it passed."""

    name: str
    description: str
    requests: Requests
    breaches: tuple[str, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The results of one run of ``bench``. ``incomplete`` says why it was cut short, or is empty."""

    created: str
    environment: Mapping[str, Any]
    measurements: tuple[Measurement, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    in_process: tuple[InProcess, ...] = ()
    scenario: ScenarioOutcome | None = None
    slo: Slo | None = None
    incomplete: str = ""
    warnings: tuple[str, ...] = ()
    runs: tuple[AnalyzerRun, ...] = field(default=(), repr=False)
