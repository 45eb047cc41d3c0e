"""Figures for people: units that fit the size, thousands separated, three significant digits."""

import math
from datetime import datetime

from modelrepo.perf.results.results import Ratio

NO_FIGURE = "–"  # noqa: RUF001 - an en dash, as usual in tables
_BYTES = ("B", "kB", "MB", "GB", "TB")


def digits(value: float) -> str:
    """Return a number with three significant digits, or all of its whole ones."""
    if not math.isfinite(value):
        return NO_FIGURE
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    # 9.999 has two places, and one more digit after rounding.
    places = max(0, 2 - math.floor(math.log10(abs(round(value, places)) or abs(value))))
    return f"{value:,.{places}f}"


def duration(microseconds: float) -> str:
    """Return microseconds in µs, ms or s."""
    if not math.isfinite(microseconds):
        return NO_FIGURE
    if abs(microseconds) < 999.5:
        return f"{digits(microseconds) if microseconds >= 1 else f'{microseconds:.2g}'} µs"
    return f"{digits(microseconds / 1e3)} ms" if abs(microseconds) < 999.5e3 else f"{digits(microseconds / 1e6)} s"


def size(count: float) -> str:
    """Return bytes in B, kB, MB, GB or TB of thousands."""
    if not math.isfinite(count):
        return NO_FIGURE
    step = min(max(0, int(math.log10(max(abs(count), 1)) / 3)), len(_BYTES) - 1)
    return f"{digits(count / 1e3**step)} {_BYTES[step]}"


def share(value: float) -> str:
    """Return a share, 0 to 1, in percent."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else NO_FIGURE


def ratio(found: Ratio | None) -> str:
    """Return a ratio with its 95 % interval."""
    if found is None:
        return NO_FIGURE
    return f"{factor(found.value)} ({found.low:.2f} to {found.high:.2f})"


def factor(value: float) -> str:
    """Return a ratio without its interval."""
    return f"{value:.2f}x" if value < 100 else f"{value:,.0f}x"


def many(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(created: str) -> str:
    """Return a time stamp for people; other texts stay as they are."""
    try:
        return f"{datetime.fromisoformat(created):%d %B %Y, %H:%M %Z}".strip().rstrip(",")
    except ValueError:
        return created
