"""Load tests as TOML: phases, each a load for some seconds; the built-in ones, and users' files."""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.perf.results.loads import LEAST_RATE, MOST_RATE, Arrivals, Slo, parse_concurrency, parse_slo

FOLDER = Path(__file__).parent
# The name of the measurement of capacity, before the phases.
CAPACITY = "capacity"
MOST_SEGMENTS = 1000
MOST_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Phase:
    """A load for ``seconds``, which its concurrencies or its ``segments`` share.

    Exactly one of the loads is given: ``concurrency``, one after the other, ``share`` of the model's capacity (1.0 is
    all of it), or ``rate`` in requests a second. ``segments`` are measured one by one, so that changes over time show.
    With ``until_saturated`` the concurrencies end when throughput stops growing. ``judged`` is True if the SLO applies.
    ``recovers`` is the allowed p99 as a multiple of the first phase's, at the latest in the last segment.
    """

    name: str
    seconds: float
    concurrency: tuple[int, ...] = ()
    share: float | None = None
    rate: float | None = None
    segments: int = 1
    until_saturated: bool = False
    judged: bool = True
    recovers: float | None = None

    @property
    def steps(self) -> int:
        """The number of runs, of which ``until_saturated`` may leave out the last."""
        return self.segments * max(1, len(self.concurrency))

    @property
    def run_seconds(self) -> float:
        """The seconds of one run."""
        return self.seconds / self.steps


@dataclass(frozen=True)
class Scenario:
    """A load test. With ``together`` all models are measured at the same time, otherwise one after the other."""

    name: str
    description: str
    phases: tuple[Phase, ...]
    arrivals: Arrivals = "constant"
    slo: Slo | None = None
    together: bool = False

    @property
    def seconds(self) -> float:
        """The seconds of all phases."""
        return sum(phase.seconds for phase in self.phases)

    def lasting(self, seconds: float | None) -> "Scenario":
        """Return the scenario with its phases scaled so that it lasts ``seconds``, or as it is for None."""
        factor = seconds / self.seconds if seconds else 1.0
        return replace(self, phases=tuple(replace(phase, seconds=phase.seconds * factor) for phase in self.phases))


def names() -> tuple[str, ...]:
    """Return the names of the built-in scenarios."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def read(reference: str) -> Scenario:
    """Return a built-in scenario by name, or one from a TOML file by path.

    Raises OptionError for an unknown name, a file that can't be read, and an invalid scenario.
    """
    if reference in names():
        return _parsed(FOLDER / f"{reference}.toml")
    if not reference.endswith(".toml"):
        known = nearest(reference, names())
        raise OptionError(f"there is no scenario {reference!r}, and the name of a file must end in .toml", known)
    return _parsed(Path(reference))


def _parsed(path: Path) -> Scenario:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, or a number of thousands of digits
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    tables = document.pop("phases", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise OptionError(f"{path}: it has no phases", "Write at least one [[phases]] with name, seconds and a load")
    values = _values(document, SCENARIO_KEYS, str(path))
    phases = tuple(_phase(table, f"{path}, phase {number}") for number, table in enumerate(tables, 1))
    found = Scenario(path.stem, values.pop("description", ""), phases, **values)
    _check(found, path)
    return found


def _phase(table: Mapping[str, Any], where: str) -> Phase:
    for key in ("name", "seconds"):
        if key not in table:
            raise OptionError(f"{where}: it has no {key}")
    values = _values(table, PHASE_KEYS, where)
    where = f"{where} ({values['name']})"
    if len({"concurrency", "rate"} & table.keys()) != 1:
        raise OptionError(f"{where}: it needs either concurrency or rate", 'Such as concurrency = 4 or rate = "70%"')
    if isinstance(table.get("rate"), str):
        values["share"] = values.pop("rate")
    if "until" in values:
        values["until_saturated"] = bool(values.pop("until"))
    if "slo" in values:
        values["judged"] = values.pop("slo")
    found = Phase(**values)
    if found.until_saturated and len(found.concurrency) < 2:
        raise OptionError(f"{where}: until needs several concurrencies", 'Such as concurrency = "1:256"')
    if found.segments > 1 and len(found.concurrency) > 1:
        raise OptionError(f"{where}: segments need one load", "Leave segments out, or name one concurrency")
    return found


def _check(found: Scenario, path: Path) -> None:
    """Raise OptionError for phases that do not fit together."""
    seen = [phase.name for phase in found.phases]
    repeated = [name for name in seen if seen.count(name) > 1]
    if repeated:
        raise OptionError(f"{path}: two phases are named {repeated[0]!r}", "Give each a name of its own")
    if CAPACITY in seen:
        raise OptionError(
            f"{path}: a phase is named {CAPACITY!r}", "Give it another name: this one is for the first measurement"
        )
    if found.phases[0].recovers:
        raise OptionError(f"{path}, phase 1 ({seen[0]}): recovers compares with the first phase, which this is")
    if found.together and any(phase.until_saturated for phase in found.phases):
        raise OptionError(f"{path}: until is for one model at a time", "Leave until or together out")


def _values(table: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in known:
            raise OptionError(f"{where}: unknown key {key!r}", nearest(key, known, count=1))
        try:
            values[key] = known[key](value)
        except ValueError as error:
            raise OptionError(f"{where}: {key} = {value!r}: {error}") from error
        except OptionError as error:  # from the parsers of the command line's options, with their names
            said = error.hint or error.message.rpartition(": ")[2].capitalize()
            raise OptionError(f"{where}: {key} = {value!r} can't be used", said) from error
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("expected text on one line")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _number(low: float, high: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return float(value)

    return parse


def _segments(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SEGMENTS:
        raise ValueError(f"expected a whole number from 1 to {MOST_SEGMENTS}")
    return value


def _concurrency(value: Any) -> tuple[int, ...]:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('expected a whole number, or text such as "1:64"')
    return parse_concurrency(str(value))


def _rate(value: Any) -> float:
    """Return requests a second, or for text a share of the model's capacity."""
    if not isinstance(value, str):
        return _number(LEAST_RATE, MOST_RATE)(value)
    match = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)\s*%", value)
    if not match or not math.isfinite(float(match[1])) or not 0 < float(match[1]) <= 10_000:
        raise ValueError('expected requests a second, such as 200, or a share of the model\'s capacity, such as "70%"')
    return float(match[1]) / 100


def _choice(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return str(value)

    return parse


def _slo(value: Any) -> Slo:
    return parse_slo(_text(value))


SCENARIO_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "description": _text,
    "arrivals": _choice("constant", "poisson"),
    "slo": _slo,
    "together": _boolean,
}
PHASE_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "seconds": _number(0.1, MOST_SECONDS),
    "concurrency": _concurrency,
    "rate": _rate,
    "segments": _segments,
    "until": _choice("saturated"),
    "slo": _boolean,
    "recovers": _number(1.0, 1000.0),
}
