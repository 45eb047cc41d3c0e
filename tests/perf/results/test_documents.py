"""Results as JSON: the keys that other programs rely on, and the errors for files that are not results."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrepo.generator.errors import PerfError
from modelrepo.perf.results import documents
from modelrepo.perf.results.compare import ratio_of
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Latency, Results
from tests.perf.bench_results import BASE, HALF, comparison, figures, in_process, measured, measurement, played

Golden = Callable[[str, str], None]
Change = Callable[[dict[str, Any]], object]
FIGURE = st.floats(1e-3, 9e17)


@pytest.mark.parametrize("results", [measured(), played(), in_process()], ids=["measured", "played", "in process"])
def test_everything_but_the_runs_is_read_back(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(documents.to_document(results, tmp_path / "report.html")))
    assert documents.read(path) == replace(results, runs=())
    assert documents.read(tmp_path) == documents.read(path)


def test_other_programs_find_these_keys() -> None:
    document = documents.to_document(measured(), Path("/r/report.html"))
    assert [*document] == [
        "schema", "created", "measurements", "comparisons", "in_process", "scenario", "slo", "environment",
        "incomplete", "warnings", "report", "runs",
    ]  # fmt: skip
    assert (document["schema"], document["report"]) == (1, "/r/report.html")
    first = document["measurements"][0]
    assert [*first] == [
        "model", "version", "backend", "precision", "protocol", "concurrency", "batch_size", "throughput", "latency_us",
        "server_us", "client_us", "requests", "failed", "stable", "reason", "phase", "delayed", "discarded", "repeats",
        "batches", "machine", "metrics", "commands",
    ]  # fmt: skip
    assert [*first["latency_us"]] == ["avg", "p50", "p90", "p95", "p99"]
    assert [*first["server_us"]] == ["queue", "compute_input", "compute_infer", "compute_output"]
    assert first["batches"] == {"1": 320}
    assert document["runs"][0]["windows"] == [{"throughput": 100.0, "latency_avg": 9_000.0}]


def test_a_load_says_only_what_applies_to_it() -> None:
    (first, *_) = documents.to_document(played(), None)["measurements"]
    assert (first["request_rate"], first["arrivals"]) == (14.0, "poisson")
    assert "concurrency" not in first


def test_what_was_not_measured_is_null() -> None:
    last = documents.to_document(measured(), None)["measurements"][-1]
    blank = ("throughput", "latency_us", "server_us", "client_us", "requests")
    assert [last[key] for key in blank] == [None] * 5
    assert last["reason"] == "perf_analyzer: unable to allocate memory"


@given(st.lists(st.tuples(FIGURE, FIGURE), max_size=4), FIGURE)
def test_ratios_and_figures_of_any_size_are_written_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[float, float]], size: float
) -> None:
    ratio, load = ratio_of(pairs), Load(concurrency=1)
    found = replace(figures(load), throughput=size, latency=Latency(size, size, size, size, size))
    results = Results(
        created="now",
        environment={},
        measurements=(measurement(BASE, load, figures=found),),
        comparisons=(replace(comparison("p99", load, ratio, "noise"), noise=ratio),),
        in_process=(replace(in_process().in_process[0], mean=size, speed_up=ratio),),
    )
    document = documents.to_document(results, None)
    assert document["comparisons"][0]["ratio"] == (asdict(ratio) if ratio else None)
    path = tmp_path_factory.getbasetemp() / "any_size.json"
    path.write_text(json.dumps(document, allow_nan=False))
    assert documents.read(path) == results


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 1e300])
def test_a_value_that_is_not_a_figure_is_refused(tmp_path: Path, odd: float) -> None:
    load = Load(concurrency=1)
    strange = replace(figures(load), latency=Latency(odd, 1.0, 2.0, 3.0, 4.0))
    document = documents.to_document(Results("now", {}, (measurement(BASE, load, figures=strange),)), None)
    (tmp_path / "results.json").write_text(json.dumps(document, allow_nan=False))
    with pytest.raises(PerfError, match="is damaged"):
        documents.read(tmp_path)


def _without(*keys: str | int) -> Change:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


def _with(value: object, *keys: str | int) -> Change:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


DAMAGE: dict[str, Change] = {
    "newer": _with(2, "schema"),
    "older": _with(0, "schema"),
    "a schema of another kind": _with("one", "schema"),
    "no measurements": _without("measurements"),
    "measurements that are none": _with(3, "measurements"),
    "a lost figure": _without("measurements", 0, "latency_us", "p99"),
    "a figure in words": _with("fast", "measurements", 0, "throughput"),
    "a broken count": _with(0.5, "measurements", 0, "requests"),
    "neither stable nor not": _with("yes", "measurements", 0, "stable"),
    "a name that is none": _with(None, "measurements", 0, "model"),
    "a ratio of nothing": _with(0, "comparisons", 0, "ratio", "low"),
    "a ratio without end": _with(1e200, "comparisons", 0, "noise", "high"),
    "a verdict that nobody gives": _with("great", "comparisons", 0, "verdict"),
    "arrivals that nobody makes": lambda document: document["measurements"][0].update(
        request_rate=1.0, arrivals="sometimes"
    ),
    "commands in one": _with("perf_analyzer", "measurements", 0, "commands"),
    "batches without sizes": _with({"many": 1}, "measurements", 0, "batches"),
    "a scenario in words": _with("ramp", "scenario"),
}


def test_a_file_that_can_not_be_read_is_one_clear_line(workdir: Path, golden: Golden) -> None:
    said = []

    def tell(name: str, path: Path) -> None:
        with pytest.raises(PerfError) as caught:
            documents.read(path)
        assert caught.value.hint
        said.append(f"{name}:\n  {caught.value}\n")

    (workdir / "empty").mkdir()
    tell("no such file", Path("nothing.json"))
    tell("a folder without one", Path("empty"))
    for name, content in {
        "no JSON": b"throughput,1\n", "no text": b"\xff\xfe\x00", "another JSON": b'{"results": []}', "a list": b"[]",
    }.items():  # fmt: skip
        Path("other.json").write_bytes(content)
        tell(name, Path("other.json"))
    for name, change in DAMAGE.items():
        document = documents.to_document(measured(), None)
        change(document)
        Path("results.json").write_text(json.dumps(document))
        tell(name, Path("results.json"))
    golden("report/unreadable.txt", "\n".join(said))


def test_a_comparison_names_both_sides() -> None:
    (first, *_) = measured().comparisons
    document = documents.comparison_document(first)
    assert (document["subject"]["model"], document["baseline"]["model"]) == (HALF.model, BASE.model)
    assert (document["metric"], document["concurrency"], document["verdict"]) == ("throughput", 1, "better")
    assert document["ratio"] == {"value": 1.31, "low": 1.27, "high": 1.35}
