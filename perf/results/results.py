"""What a benchmark has found, as frozen dataclasses: runs, what they add up to, and how they compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelrepo.perf.results.loads import Load, Slo

Verdict = Literal["better", "worse", "noise", "unknown"]


@dataclass(frozen=True)
class Subject:
    """What is measured: a version of a served model, over one protocol (``grpc`` or ``http``).

    ``precision`` is fp32, fp16, …, or None where nothing tells.
    """

    model: str
    version: str
    backend: str
    precision: str | None
    protocol: str


@dataclass(frozen=True)
class Latency:
    """What clients waited for a request, in microseconds."""

    avg: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class ServerTime:
    """Where a request's time went inside Triton, in microseconds on average."""

    queue: float
    compute_input: float
    compute_infer: float
    compute_output: float


@dataclass(frozen=True)
class ClientTime:
    """Where a request's time went outside Triton's parts, in microseconds on average.

    ``network`` is what is neither the client's nor one of the server's parts: wire, and the server's own transport.
    """

    send: float
    network: float
    receive: float


@dataclass(frozen=True)
class Figures:
    """What perf_analyzer measured: ``throughput`` counts inferences (samples) a second, ``requests`` requests.

    ``delayed`` is the share of requests, 0 to 1, that a client at its limit could not send in time.
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
    """How this machine fared during a run: shares of all CPU time, 0 to 1, and the load average at its end.

    ``steal`` was taken by other guests of the same host; ``busy`` is everything but idle.
    """

    steal: float
    busy: float
    load_average: float


@dataclass(frozen=True)
class Gauge:
    """What one of Triton's metrics showed while it was watched."""

    mean: float
    most: float


@dataclass(frozen=True)
class AnalyzerRun:
    """One run of perf_analyzer. ``figures`` is None where it gave none, and ``reason`` says why, or why it is unstable.

    ``batches`` counts Triton's executions by batch size; ``failed`` its failed requests, at least 1 where
    perf_analyzer reported one. ``log`` is its output, relative to the report.
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
    again: bool = False  # the baseline once more, in the same round: the noise floor
    counts: bool = True  # False where it was repeated, for the machine was disturbed or the load unsteady


@dataclass(frozen=True)
class Repeat:
    """The figures of one run that counts."""

    throughput: float
    latency: Latency


@dataclass(frozen=True)
class Measurement:
    """A subject under a load, over all its rounds: ``figures`` are medians of the runs that count.

    ``figures`` is None where no run gave any. ``stable`` is False where a round found no stable run; then unstable ones
    count too, and ``reason`` says what was seen. ``discarded`` runs were repeated because the machine was disturbed or
    the load unsteady. ``phase`` is that of a scenario.
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
    round. The verdict is noise unless the ratio lies beyond both. ``stable`` is False where a measurement of either is
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
    """A model called ``batch_size`` samples at a time in one way: the source framework, ONNX Runtime, or served.

    Latencies in microseconds for a call, ``throughput`` in samples a second, ``memory_bytes`` the most that its
    processes held, None where they are not on this machine. ``speed_up`` is the source framework's p50 over its own.
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
    """What became of requests: ``sent`` is ``answered`` and ``failed``; of ``checked`` answers ``wrong`` differed."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    checked: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class ScenarioOutcome:
    """How a load test ended: ``breaches`` says what was broken, and is empty where it passed."""

    name: str
    description: str
    requests: Requests
    breaches: tuple[str, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """Everything of one run of ``bench``. ``incomplete`` says why it was cut short, and is empty where it was not."""

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
