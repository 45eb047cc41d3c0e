"""The measurements as CSV: a row each, a unit in every column's name."""

import csv
import io
from dataclasses import asdict
from typing import Any

from modelrepo.perf.results.results import Figures, Measurement, Results

FIRST = ("model", "version", "backend", "precision", "protocol", "phase")
LOAD = ("concurrency", "request_rate_per_s", "arrivals", "batch_size")
FIGURES = (
    *("throughput_per_s", "latency_avg_us", "latency_p50_us", "latency_p90_us", "latency_p95_us", "latency_p99_us"),
    *("server_queue_us", "server_compute_input_us", "server_compute_infer_us", "server_compute_output_us"),
    *("client_send_us", "client_network_us", "client_receive_us", "requests", "delayed_share"),
)
LAST = ("failed", "stable", "reason", "runs", "discarded", "steal_share", "busy_share", "load_average", "batches")


def text(results: Results) -> str:
    """Return the CSV; values that do not apply to a measurement, or were not found, are empty.

    ``batches`` lists Triton's executions as ``size:count``; metrics have a column for the mean and one for the maximum.
    """
    metrics = list(dict.fromkeys(name for each in results.measurements for name in each.metrics))
    gauges = [f"{name}_{kind}" for name in metrics for kind in ("mean", "most")]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, [*FIRST, *LOAD, *FIGURES, *LAST, *gauges], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(each) for each in results.measurements)
    return file.getvalue()


def _row(measurement: Measurement) -> dict[str, Any]:
    load, machine = measurement.load, measurement.machine
    rated = load.request_rate is not None
    return {
        **asdict(measurement.subject),
        "phase": measurement.phase,
        "concurrency": load.concurrency,
        "request_rate_per_s": load.request_rate,
        "arrivals": load.arrivals if rated else None,
        "batch_size": load.batch_size,
        **(_figures(measurement.figures) if measurement.figures else {}),
        "failed": measurement.failed,
        "stable": str(measurement.stable).lower(),
        "reason": measurement.reason,
        "runs": len(measurement.repeats),
        "discarded": measurement.discarded,
        "steal_share": machine.steal,
        "busy_share": machine.busy,
        "load_average": machine.load_average,
        "batches": " ".join(f"{size}:{count}" for size, count in sorted(measurement.batches.items())),
        **{f"{name}_mean": gauge.mean for name, gauge in measurement.metrics.items()},
        **{f"{name}_most": gauge.most for name, gauge in measurement.metrics.items()},
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "throughput_per_s": figures.throughput,
        **{f"latency_{name}_us": value for name, value in asdict(figures.latency).items()},
        **{f"server_{name}_us": value for name, value in asdict(figures.server).items()},
        **{f"client_{name}_us": value for name, value in asdict(figures.client).items()},
        "requests": figures.requests,
        "delayed_share": figures.delayed,
    }
