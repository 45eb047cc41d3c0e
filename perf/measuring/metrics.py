"""Triton's own metrics endpoint: GPU and CPU figures without DCGM and without root."""

import http.client
import math
import threading
import time
import urllib.request
from collections.abc import Mapping
from statistics import fmean
from types import TracebackType
from typing import Self

from modelrepo.generator.system.extras import need
from modelrepo.perf.results.results import Gauge

SECONDS = 5.0
MOST_BYTES = 16 << 20
# The gauges of a run; those of GPUs exist only if Triton sees a GPU.
GAUGES = (
    "nv_cpu_utilization",
    "nv_cpu_memory_used_bytes",
    "nv_gpu_utilization",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_power_usage",
    "nv_pinned_memory_pool_used_bytes",
)


def read(url: str) -> Mapping[str, float]:
    """Return Triton's current gauges, one a device.

    Raises OSError if it can't be reached, ValueError if something else answers.
    """
    # No proxy between a benchmark and its server, even if the environment names one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            text = _text(answer)
    except http.client.HTTPException as error:
        raise ValueError(f"{url} does not answer as an HTTP server: {type(error).__name__}") from error
    families = need("prometheus_client.parser", "bench").text_string_to_metric_families(text)
    found = {
        sample.name + "".join(f"{{{device}}}" for device in sample.labels.values()): float(sample.value)
        for family in families
        for sample in family.samples
        if sample.name in GAUGES and math.isfinite(sample.value) and sample.value >= 0
    }
    if not found:
        raise ValueError(f"{url} has none of Triton's metrics")
    return found


def _text(answer: http.client.HTTPResponse) -> str:
    """Return a server's answer; ValueError if it does not end."""
    end, parts, size = time.monotonic() + SECONDS, [], 0
    while part := answer.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end or size > MOST_BYTES:
            raise ValueError("its answer does not end")
    return b"".join(parts).decode("utf-8", errors="replace")


class Watch:
    """Reads the metrics every half second while a block runs; without a URL it reads nothing."""

    def __init__(self, url: str | None, every: float = 0.5) -> None:
        self._url, self._every = url, every
        self._seen: dict[str, list[float]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        if self._url:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        if self._url:
            self._thread.join()

    def _follow(self) -> None:
        assert self._url  # noqa: S101 - the thread only starts with one
        while not self._done.wait(self._every):
            try:
                gauges = read(self._url)
            except (OSError, ValueError):  # the server may die in a run, and the run itself reports that
                continue
            for name, value in gauges.items():
                self._seen.setdefault(name, []).append(value)

    def gauges(self) -> dict[str, Gauge]:
        """Return the mean and the maximum of each metric and device."""
        return {name: Gauge(fmean(values), max(values)) for name, values in self._seen.items()}
