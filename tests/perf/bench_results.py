"""Results such as `bench` finds, made up: a server of one instance whose queue grows with the load."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelrepo.perf.results.loads import Load, Slo
from modelrepo.perf.results.results import (
    AnalyzerRun,
    ClientTime,
    Comparison,
    Figures,
    Gauge,
    InProcess,
    Latency,
    MachineLoad,
    Measurement,
    Ratio,
    Repeat,
    Requests,
    Results,
    ScenarioOutcome,
    ServerTime,
    Subject,
    Window,
)

BASE = Subject("resnet50_onnx", "1", "onnxruntime", "fp32", "grpc")
HALF = Subject("resnet50_onnx_fp16", "1", "onnxruntime", "fp16", "grpc")
SLO = Slo("p99", 20_000.0)
CONCURRENCY = (1, 2, 4, 8, 16, 32)
ENVIRONMENT: Mapping[str, Any] = {
    "server": {
        "name": "triton", "version": "2.51.0", "url": "grpc://127.0.0.1:8001", "local": True, "on_this_machine": True,
        "metrics": "http://127.0.0.1:8002/metrics",
    },
    "machine": {
        "cpu": "AMD EPYC 7763 64-Core Processor", "cores": 16, "memory_bytes": 67_430_000_000,
        "system": "Linux 6.8.0", "python": "3.12.4",
        "packages": {"modelrepo": "0.1.0", "tritonclient": "2.60.0", "onnxruntime": "1.22.0"},
    },
    "perf_analyzer": {"version": "2.60.0", "origin": "wheel"},
    "options": {"seconds": 2.0, "repeats": 5, "stability_percent": 10.0, "input_data": "random"},
}  # fmt: skip


def figures(load: Load, speed: float = 1.0) -> Figures:
    """The figures of a model of 6 ms a sample under a load: batches share half of their work."""
    compute = 6_000.0 * (0.5 + 0.5 * load.batch_size) / speed
    flight = load.concurrency or max(1.0, (load.request_rate or 0.0) * compute / 1e6)
    merged = min(flight, 8.0)
    busy = compute * (0.55 + 0.45 * merged) + 700
    latency = busy * max(1.0, flight / merged)
    if load.request_rate:
        latency /= max(0.2, 1 - load.request_rate * compute / 1.6e6)  # the fuller, the longer the queue
    return Figures(
        throughput=load.request_rate or flight * load.batch_size / latency * 1e6,
        latency=Latency(latency, 0.97 * latency, 1.1 * latency, 1.16 * latency, 1.31 * latency),
        server=ServerTime(latency - busy + 40, 95.0, busy - 700, 12.0),
        client=ClientTime(38.0, 480.0, 35.0),
        requests=round(2e6 * flight / latency),
        delayed=0.02 if load.request_rate else 0.0,
    )


def measurement(subject: Subject, load: Load, speed: float = 1.0, **other: Any) -> Measurement:
    """A measurement of three rounds; ``other`` fields take the place of its own."""
    found = figures(load, speed)
    repeats = tuple(
        Repeat(found.throughput * scale, replace(found.latency, p99=found.latency.p99 / scale))
        for scale in (0.98, 1.0, 1.03)
    )
    merged = min(load.concurrency or 2, 8) * load.batch_size
    command = f"perf_analyzer -m {subject.model} -x 1 -i grpc -u 127.0.0.1:8001 -a -b {load.batch_size} -f 'a b.csv'"
    size = (
        f"--concurrency-range {load.concurrency}" if load.concurrency else f"--request-rate-range {load.request_rate:g}"
    )
    own = Measurement(
        subject=subject,
        load=load,
        figures=found,
        repeats=repeats,
        discarded=1 if load.concurrency == 8 else 0,
        stable=True,
        failed=0,
        batches={1: 60, merged: 400} if merged > 1 else {1: 320},
        machine=MachineLoad(0.002 * merged, min(0.99, 0.12 * merged), 1.5 + merged / 4),
        metrics={"nv_cpu_utilization": Gauge(0.1 * merged, 0.98), "nv_cpu_memory_used_bytes": Gauge(2.1e9, 2.4e9)},
        commands=(f"{command} {size}",),
    )
    return replace(own, **other)


def comparison(metric: Any, load: Load, ratio: Ratio | None, verdict: Any) -> Comparison:
    return Comparison(metric, load, HALF, BASE, ratio, Ratio(1.004, 0.985, 1.02) if ratio else None, verdict)


def measured() -> Results:
    """Two models at every concurrency, compared; the last load of one is unstable, and of the other gave nothing."""
    loads = [Load(concurrency=number) for number in CONCURRENCY]
    unstable: dict[str, Any] = {
        "stable": False,
        "reason": "2 of 3 rounds: throughput within 14 %, where 10 % is allowed",
    }
    found = [
        *(measurement(BASE, load, **(unstable if load.concurrency == 32 else {})) for load in loads),
        *(measurement(HALF, load, 1.34) for load in loads[:-1]),
        measurement(
            HALF, loads[-1], figures=None, repeats=(), batches={}, stable=False, failed=3, metrics={},
            reason="perf_analyzer: unable to allocate memory",
        ),
    ]  # fmt: skip
    ratios = {1: Ratio(1.31, 1.27, 1.35), 8: Ratio(1.34, 1.29, 1.40), 16: Ratio(1.01, 0.97, 1.05)}
    compared = [
        each
        for number, ratio in ratios.items()
        for load in (Load(concurrency=number),)
        for inverse in (Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low),)
        for word in ("noise" if number == 16 else "better",)
        for each in (
            comparison("throughput", load, ratio, word),
            comparison("p50", load, inverse, word),
            comparison("p99", load, inverse, word),
        )
    ]
    compared.append(comparison("throughput", Load(concurrency=32), None, "unknown"))
    return Results(
        created="2026-11-21T12:00:00+00:00",
        environment=ENVIRONMENT,
        measurements=tuple(found),
        comparisons=tuple(compared),
        slo=SLO,
        warnings=("no GPU metrics at http://127.0.0.1:8002/metrics",),
        runs=(run(BASE, loads[0]),),
    )


def run(subject: Subject, load: Load) -> AnalyzerRun:
    return AnalyzerRun(
        subject, load, 1, "perf_analyzer -m m", "raw/1.log", figures(load), (Window(100.0, 9_000.0),), {1: 320}, 320, 0,
        MachineLoad(0.0, 0.1, 1.0), {}, True,
    )  # fmt: skip


def played() -> Results:
    """A load test of four phases that broke its limit, and lost answers."""
    phases = {"warm": 20.0, "ramp": 60.0, "peak": 140.0, "cool": 20.0}
    found = [
        measurement(subject, Load(request_rate=rate * share, arrivals="poisson"), speed, phase=phase)
        for phase, rate in phases.items()
        for subject, share, speed in ((BASE, 0.7, 1.0), (HALF, 0.3, 1.34))
    ]
    outcome = ScenarioOutcome(
        "ramp",
        "Rises to a peak, and falls again",
        Requests(sent=12_345, answered=12_340, failed=5, checked=500, wrong=1),
        ("p99 was 31.2 ms in phase peak, where 20 ms is allowed", "1 of 500 checked answers was wrong"),
        ("the rate was that of --request-rate",),
    )
    return Results("2026-11-21T12:00:00+00:00", ENVIRONMENT, tuple(found), scenario=outcome, slo=SLO)


def in_process() -> Results:
    """A model in its framework, in ONNX Runtime and served, at three batch sizes."""
    rows = [
        InProcess(
            "resnet50", framework, batch, mean, 0.98 * mean, 1.08 * mean, 1.2 * mean, batch / mean * 1e6, memory,
            None if framework == "torch" else Ratio(30_000.0 / base, 29_000.0 / base, 31_500.0 / base),
        )
        for batch in (1, 4, 16)
        for framework, base, memory in (
            ("torch", 30_000.0, 1_400_000_000),
            ("onnxruntime", 18_000.0, 620_000_000),
            ("triton (served)", 19_500.0, None),
        )
        for mean in (base * (0.4 + 0.6 * batch),)
    ]  # fmt: skip
    return Results("2026-11-21T12:00:00+00:00", ENVIRONMENT, in_process=tuple(rows))
