"""Loads and latency limits, and reading them from users' texts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from modelrepo.generator.errors import OptionError

Arrivals = Literal["constant", "poisson"]
PERCENTILES = ("avg", "p50", "p90", "p95", "p99")
MOST_CONCURRENCY = 4096
LEAST_RATE, MOST_RATE = 1e-3, 1e6
MOST_LIMIT = 1e9
_UNITS = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Load:
    """Either the number of requests in flight, or the requests sent in a second, of one batch size.

    ``arrivals`` says how the requests of a rate are spaced: evenly, or like those of independent users.
    """

    batch_size: int = 1
    concurrency: int | None = None
    request_rate: float | None = None
    arrivals: Arrivals = "constant"

    def __str__(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        if self.concurrency is not None:
            return f"concurrency {self.concurrency}{batch}"
        return f"{self.request_rate:g} requests/s{batch}{', Poisson' if self.arrivals == 'poisson' else ''}"


@dataclass(frozen=True)
class Slo:
    """A limit in microseconds for a latency that is one of PERCENTILES."""

    percentile: str
    limit_us: float

    def __str__(self) -> str:
        return f"{self.percentile} <= {self.limit_us / 1e3:g} ms"


def parse_concurrency(text: str) -> tuple[int, ...]:
    """Return the values of ``8``, ``1,2,4``, ``1:64`` (doubled each time) or ``1:64:8`` (steps of 8, with the end)."""
    values = tuple(dict.fromkeys(value for part in text.split(",") for value in _range(part, text)))
    if min(values) < 1 or max(values) > MOST_CONCURRENCY:
        raise OptionError(f"--concurrency {text}: it must be from 1 to {MOST_CONCURRENCY}")
    return values


def _range(part: str, text: str) -> Iterator[int]:
    match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6})(?::(\d{1,6}))?)?", part.strip())
    if not match:
        raise OptionError(
            f"--concurrency {text} can't be read", "Write 8, 1,2,4, 1:64 (doubled) or 1:64:8 (steps of 8)"
        )
    value, last = int(match[1]), int(match[2] or match[1])
    step = int(match[3]) if match[3] else None
    if last < value or value == 0 or step == 0:
        raise OptionError(f"--concurrency {text} is not a range", "Write START:END or START:END:STEP, upwards from 1")
    while value < last:
        yield value
        value = value + step if step else value * 2
    yield last


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes in ``1`` or ``1,4,8``."""
    if not re.fullmatch(r"\s*[1-9]\d{0,5}\s*(,\s*[1-9]\d{0,5}\s*)*", text):
        raise OptionError(f"--batch-size {text} can't be read", "Write 8, or several: 1,4,8")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def parse_rates(text: str) -> tuple[float, ...]:
    """Return the requests a second in ``200``, ``50,100.5`` or ``100:500:100``; the end is included."""
    rates: list[float] = []
    for part in text.split(","):
        try:
            bounds = [float(number) for number in part.split(":")]
        except ValueError:
            bounds = []
        if len(bounds) not in (1, 3) or not all(LEAST_RATE <= bound <= MOST_RATE for bound in bounds):
            raise OptionError(
                f"--request-rate {text} can't be used",
                f"Write 200, 50,100 or START:END:STEP, from {LEAST_RATE:g} to {MOST_RATE:g}",
            )
        if len(bounds) == 1:
            rates += bounds
            continue
        start, end, step = bounds
        if end < start or (end - start) / step > MOST_CONCURRENCY:
            raise OptionError(f"--request-rate {text} is empty or too long", "Write START:END:STEP, upwards")
        rates += [start + step * number for number in range(int((end - start) / step + 1e-9) + 1)]
    return tuple(dict.fromkeys(rates))


def parse_slo(text: str) -> Slo:
    """Return a limit such as ``p99:20ms``; the latency is avg, p50, p90, p95 or p99, the unit us, ms or s."""
    match = re.fullmatch(r"(avg|p50|p90|p95|p99)(?::|<=?)(\d+(?:\.\d+)?)(us|µs|ms|s)", text.replace(" ", ""))
    if not match or not 0 < float(match[2]) <= MOST_LIMIT:
        raise OptionError(
            f"the SLO {text!r} can't be read", f"Write p99:20ms: one of {', '.join(PERCENTILES)}, and us, ms or s"
        )
    return Slo(match[1], float(match[2]) * _UNITS[match[3]])


def parse_duration(text: str) -> float:
    """Return the seconds in ``5``, ``5s``, ``500ms``, ``10m`` or ``2h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if not 0.1 <= seconds <= 7 * 24 * 3600:
        raise OptionError(f"the duration {text!r} can't be used", "Write 500ms, 5s, 10m or 2h, from 100ms to 168h")
    return seconds
