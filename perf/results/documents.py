"""Results as JSON: one schema for other programs and for ``bench --compare``."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from modelrepo.generator.errors import PerfError
from modelrepo.perf.results.loads import Load, Slo
from modelrepo.perf.results.results import (
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
)

SCHEMA = 1
FILE = "results.json"
LARGEST = 1e18
# The ratio of two figures, and an interval of e^30 around it, are less.
LARGEST_RATIO = 1e100

_Numbers = TypeVar("_Numbers", Latency, ServerTime, ClientTime, MachineLoad, Gauge, Ratio)


def to_document(results: Results, report: Path | None) -> dict[str, Any]:
    """Return results as plain values for JSON; ``report`` is their page, if there is one.

    Latencies are in microseconds, throughput in samples a second. A figure that is not a number becomes None.
    """
    document = {
        "schema": SCHEMA,
        "created": results.created,
        "measurements": [measurement_document(each) for each in results.measurements],
        "comparisons": [comparison_document(each) for each in results.comparisons],
        "in_process": [asdict(each) for each in results.in_process],
        "scenario": asdict(results.scenario) if results.scenario else None,
        "slo": asdict(results.slo) if results.slo else None,
        "environment": results.environment,
        "incomplete": results.incomplete,
        "warnings": results.warnings,
        "report": str(report) if report else None,
        "runs": [asdict(each) for each in results.runs],
    }
    plain = _plain(document)
    assert isinstance(plain, dict)  # noqa: S101 - a mapping stays one
    return plain


def _plain(value: Any) -> Any:
    """Return a value as JSON returns it: lists, text keys, and None for infinities and NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float) or value is None else str(value)


def _load_document(load: Load) -> dict[str, Any]:
    """Return the values that apply to a load."""
    if load.request_rate is None:
        return {"concurrency": load.concurrency, "batch_size": load.batch_size}
    return {"request_rate": load.request_rate, "arrivals": load.arrivals, "batch_size": load.batch_size}


def measurement_document(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as plain values; figures that it does not have are None."""
    figures = measurement.figures
    return {
        **asdict(measurement.subject),
        **_load_document(measurement.load),
        "throughput": figures.throughput if figures else None,
        "latency_us": asdict(figures.latency) if figures else None,
        "server_us": asdict(figures.server) if figures else None,
        "client_us": asdict(figures.client) if figures else None,
        "requests": figures.requests if figures else None,
        "failed": measurement.failed,
        "stable": measurement.stable,
        "reason": measurement.reason,
        "phase": measurement.phase,
        "delayed": figures.delayed if figures else None,
        "discarded": measurement.discarded,
        "repeats": [
            {"throughput": each.throughput, "latency_us": asdict(each.latency)} for each in measurement.repeats
        ],
        "batches": {str(size): count for size, count in measurement.batches.items()},
        "machine": asdict(measurement.machine),
        "metrics": {name: asdict(gauge) for name, gauge in measurement.metrics.items()},
        "commands": list(measurement.commands),
    }


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values; the ratio is the subject's figure over the baseline's."""
    return {
        "metric": comparison.metric,
        **_load_document(comparison.load),
        "subject": asdict(comparison.subject),
        "baseline": asdict(comparison.baseline),
        "ratio": asdict(comparison.ratio) if comparison.ratio else None,
        "noise": asdict(comparison.noise) if comparison.noise else None,
        "verdict": comparison.verdict,
        "stable": comparison.stable,
    }


def read(path: Path) -> Results:
    """Return the results in a JSON file, or in a folder with one, without the single runs.

    Raises PerfError for a file that can't be read, is not a result of ``bench`` or damaged, or has a different schema.
    """
    path = path / FILE if path.is_dir() else path
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        hint = f"Name a folder that bench wrote, or the {FILE} in it"
        raise PerfError(f"can't read {path}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise PerfError(f"{path} is not JSON: {error}", f"Name a {FILE} that bench wrote") from error
    _check(document, path)
    try:
        return _results(document)
    except KeyError as error:
        raise PerfError(f"{path} is damaged: it lacks {error.args[0]!r}", "Measure again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise PerfError(f"{path} is damaged: {error}", "Measure again") from error


def _check(document: Any, path: Path) -> None:
    """Raise PerfError for JSON that is not a result of bench, or has a different schema."""
    if not isinstance(document, dict) or not {"schema", "measurements"} <= document.keys():
        raise PerfError(f"{path} is not a result of bench", f"Name a {FILE} that bench wrote")
    schema = document["schema"]
    if schema == SCHEMA:
        return
    if isinstance(schema, int) and schema > SCHEMA:
        raise PerfError(f"{path} was written by a newer release of modelrepo (schema {schema})", "Upgrade modelrepo")
    raise PerfError(f"{path} was written by another release of modelrepo (schema {schema!r})", "Measure again")


def _results(document: Mapping[str, Any]) -> Results:
    scenario, slo = document["scenario"], document["slo"]
    return Results(
        created=_text(document["created"]),
        environment=dict(document["environment"]),
        measurements=tuple(map(_measurement, document["measurements"])),
        comparisons=tuple(map(_comparison, document["comparisons"])),
        in_process=tuple(map(_in_process, document["in_process"])),
        scenario=_scenario(scenario) if scenario is not None else None,
        slo=Slo(_text(slo["percentile"]), _number(slo["limit_us"])) if slo is not None else None,
        incomplete=_text(document["incomplete"]),
        warnings=_texts(document["warnings"]),
    )


def _measurement(document: Mapping[str, Any]) -> Measurement:
    return Measurement(
        subject=_subject(document),
        load=_load(document),
        figures=_figures(document),
        repeats=tuple(
            Repeat(_number(each["throughput"]), _numbers(Latency, each["latency_us"])) for each in document["repeats"]
        ),
        discarded=_count(document["discarded"]),
        stable=_truth(document["stable"]),
        failed=_count(document["failed"]),
        batches={int(size): _count(count) for size, count in document["batches"].items()},
        machine=_numbers(MachineLoad, document["machine"]),
        metrics={name: _numbers(Gauge, gauge) for name, gauge in document["metrics"].items()},
        commands=_texts(document["commands"]),
        reason=_text(document["reason"]),
        phase=_text(document["phase"]),
    )


def _subject(document: Mapping[str, Any]) -> Subject:
    precision = document["precision"]
    return Subject(
        model=_text(document["model"]),
        version=_text(document["version"]),
        backend=_text(document["backend"]),
        precision=None if precision is None else _text(precision),
        protocol=_text(document["protocol"]),
    )


def _load(document: Mapping[str, Any]) -> Load:
    batch_size = _count(document["batch_size"])
    if "request_rate" not in document:
        return Load(batch_size, concurrency=_count(document["concurrency"]))
    arrivals = document["arrivals"]
    if arrivals not in ("constant", "poisson"):
        raise ValueError(f"arrivals are {arrivals!r}")
    return Load(batch_size, request_rate=_number(document["request_rate"]), arrivals=arrivals)


def _figures(document: Mapping[str, Any]) -> Figures | None:
    if document["latency_us"] is None:
        return None
    return Figures(
        throughput=_number(document["throughput"]),
        latency=_numbers(Latency, document["latency_us"]),
        server=_numbers(ServerTime, document["server_us"]),
        client=_numbers(ClientTime, document["client_us"]),
        requests=_count(document["requests"]),
        delayed=_number(document["delayed"]),
    )


def _comparison(document: Mapping[str, Any]) -> Comparison:
    metric, verdict = document["metric"], document["verdict"]
    if metric not in ("throughput", "p50", "p99") or verdict not in ("better", "worse", "noise", "unknown"):
        raise ValueError(f"a comparison of {metric!r} says {verdict!r}")
    return Comparison(
        metric=metric,
        load=_load(document),
        subject=_subject(document["subject"]),
        baseline=_subject(document["baseline"]),
        ratio=_ratio(document["ratio"]),
        noise=_ratio(document["noise"]),
        verdict=verdict,
        stable=_truth(document["stable"]),
    )


def _ratio(document: Mapping[str, Any] | None) -> Ratio | None:
    ratio = _numbers(Ratio, document, LARGEST_RATIO) if document is not None else None
    if ratio and min(ratio.low, ratio.value, ratio.high) <= 1 / LARGEST_RATIO:
        raise ValueError("a ratio is 0")
    return ratio


def _in_process(document: Mapping[str, Any]) -> InProcess:
    memory = document["memory_bytes"]
    return InProcess(
        model=_text(document["model"]),
        framework=_text(document["framework"]),
        batch_size=_count(document["batch_size"]),
        memory_bytes=None if memory is None else _count(memory),
        speed_up=_ratio(document["speed_up"]),
        **{name: _number(document[name]) for name in ("mean", "p50", "p95", "p99", "throughput")},
    )


def _scenario(document: Mapping[str, Any]) -> ScenarioOutcome:
    return ScenarioOutcome(
        name=_text(document["name"]),
        description=_text(document["description"]),
        requests=Requests(**{each.name: _count(document["requests"][each.name]) for each in fields(Requests)}),
        breaches=_texts(document["breaches"]),
        remarks=_texts(document["remarks"]),
    )


def _numbers(kind: type[_Numbers], document: Mapping[str, Any], largest: float = LARGEST) -> _Numbers:
    """Return a dataclass of nothing but numbers."""
    return kind(*(_number(document[each.name], largest) for each in fields(kind)))


def _number(value: Any, largest: float = LARGEST) -> float:
    """Return a number; TypeError or ValueError for a value that can't be a measured figure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not 0 <= value < largest:
        raise ValueError(f"{value!r:.20} is not a figure")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is not a list")
    return tuple(map(_text, values))
