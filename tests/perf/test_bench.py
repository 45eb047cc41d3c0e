"""`modelrepo bench` with a real Triton and NVIDIA's own perf_analyzer: what it measures, prints, keeps and refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from modelrepo.cli.commands import bench as bench_command
from modelrepo.generator.errors import PerfError
from modelrepo.generator.system import extras
from modelrepo.server import Server, running_server
from tests.conftest import PROJECT, Generate, ModelRepo, Outcome
from tests.served_models import tensor, value, write, write_for_kinds, write_repository

Bench = Callable[..., Outcome]
Golden = Callable[[str, str], None]
# Runs as short as they can be and still have requests in every window.
QUICK = ("--duration", "0.3s", "--repeats", "1", "--stability", "500")


def write_embedding(folder: Path) -> None:
    """Write `embed`, which has ten rows and refuses any other id: output[batch, n, 2] for int64 ids [batch, n]."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["output"])],
        "embed",
        [value("ids", TensorProto.INT64, ["batch", "n"])],
        [value("output", TensorProto.FLOAT, ["batch", "n", 2])],
        [numpy_helper.from_array(np.ones((10, 2), "float32"), "table")],
    )
    tensors = tensor("input", "ids", "int64", [-1]) + tensor("output", "output", "float32", [-1, 2])
    write(folder, "embed", graph, 8, tensors)


def write_strict(folder: Path) -> None:
    """Write `strict`: `slow`, but with room for one waiting request, so that many requests at once are refused."""
    shutil.copytree(folder / "linear", folder / "strict")
    config = folder / "strict/config.pbtxt"
    policy = "dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 50000\n"
    policy += "default_queue_policy { max_queue_size: 1 } }"
    text = config.read_text().replace('"linear"', '"strict"').replace("dynamic_batching { }", policy)
    config.write_text(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_for_kinds(write_repository(tmp_path_factory.mktemp("repository")))
    write_embedding(folder)
    write_strict(folder)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    with running_server(repository) as running:
        yield running


@pytest.fixture
def bench(modelrepo: ModelRepo) -> Bench:
    """Run `modelrepo bench` in this process, in an empty folder."""
    return partial(modelrepo, bench_command.bench)


def asked(server: Server, *arguments: str) -> tuple[str, ...]:
    return (*arguments, "--url", server.grpc_url, "--metrics-url", server.metrics_url)


def test_the_json_is_what_was_promised(bench: Bench, server: Server, workdir: Path) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "1,4", *QUICK, "--json", "--output", "out"))
    assert outcome.code == 0, outcome.err
    document = outcome.report
    assert [row["concurrency"] for row in document["measurements"]] == [1, 4]
    row: dict[str, Any] = document["measurements"][0]
    assert (row["model"], row["backend"], row["precision"], row["protocol"]) == ("linear", "onnxruntime", None, "grpc")
    assert "request_rate" not in row
    assert row["throughput"] > 10
    latency = row["latency_us"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
    assert set(row["server_us"]) == {"queue", "compute_input", "compute_infer", "compute_output"}
    assert row["requests"] > 3
    assert (row["failed"], row["batch_size"]) == (0, 1)
    assert document["comparisons"] == []
    assert document["environment"]["server"]["version"] == "2.51.0"
    assert Path(document["report"]) == workdir / "out/report.html"


def test_pictures_and_texts_are_measured_as_clients_have_them(bench: Bench, server: Server, workdir: Path) -> None:
    outcome = bench(*asked(server, "means", "words", "--concurrency", "2", *QUICK, "--json", "--output", "out"))
    assert outcome.code == 0, outcome.err
    assert all(row["throughput"] > 1 and not row["failed"] for row in outcome.report["measurements"])
    requests = outcome.report["environment"]["requests"]
    assert requests["means:1"] == {"sent_bytes": 375 * 500 * 3, "received_bytes": 12}
    assert 10 < requests["words:1"]["sent_bytes"] < 1000
    assert "of any size are measured at" not in outcome.err
    assert "562 kB of input" in outcome.err


def test_pictures_of_different_sizes_are_not_measured_in_batches(bench: Bench, server: Server, workdir: Path) -> None:
    for name, size in (("a", (8, 9)), ("b", (5, 4))):
        Image.new("RGB", size).save(f"{name}.png")
    arguments = asked(server, "means", "--input-data", ".", "--concurrency", "1", *QUICK, "--json", "--output", "out")
    outcome = bench(*arguments, "--batch-size", "2")
    assert (outcome.code, Path("out").exists()) == (2, False)
    assert "can't measure means in batches: the samples of . have different sizes" in outcome.err
    assert bench(*arguments).report["measurements"][0]["failed"] == 0


def test_the_report_and_everything_raw_is_kept(bench: Bench, server: Server, workdir: Path) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "2", *QUICK, "--output", "out"))
    assert outcome.code == 0, outcome.err
    assert f"report: {workdir / 'out/report.html'}" in outcome.out
    names = {path.name for path in (workdir / "out").iterdir()}
    assert names == {"report.html", "report.md", "results.csv", "results.json", "raw", "inputs"}
    logs = sorted((workdir / "out/raw").glob("*.log"))  # several, where the machine was disturbed
    log = logs[0]
    assert "Pass [3] throughput" in log.read_text()
    assert log.with_suffix(".csv").read_text().startswith("Concurrency,Inferences/Second")
    runs = json.loads((workdir / "out/results.json").read_text())["runs"]
    assert sorted(run["log"] for run in runs) == [f"raw/{log.name}" for log in logs]


def test_the_command_lines_of_perf_analyzer_are_in_the_report_and_not_on_the_terminal(
    bench: Bench, server: Server, workdir: Path
) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "2", *QUICK, "--output", "out"))
    assert outcome.code == 0, outcome.err
    assert "perf_analyzer -m" not in outcome.err + outcome.out
    assert "perf_analyzer -m linear" in (workdir / "out/report.html").read_text()


def test_a_printed_command_can_be_copied_into_a_shell(bench: Bench, server: Server, workdir: Path) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "2", *QUICK, "--output", "out", "--verbose"))
    (command,) = [line[2:] for line in outcome.err.splitlines() if line.startswith("$ ")]
    done = subprocess.run(["/bin/bash", "-c", command], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Concurrency: 2, throughput:" in done.stdout


def test_several_models_are_compared_beside_the_noise(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "linear", "join", "--concurrency", "1", *QUICK, "--repeats", "3", "--json"))
    assert outcome.code == 0, outcome.err
    rows = outcome.report["comparisons"]
    assert {(row["subject"]["model"], row["baseline"]["model"]) for row in rows} == {("join", "linear")}
    for row in rows:
        assert row["ratio"]["low"] <= row["ratio"]["value"] <= row["ratio"]["high"]
        assert row["noise"]
        assert row["verdict"] in ("better", "worse", "noise")
    (linear, join) = outcome.report["measurements"]
    assert len(linear["repeats"]) == 2 * len(join["repeats"])  # once more in every round


def test_a_local_server_is_started_for_the_run_and_reported_as_local(bench: Bench, repository: Path) -> None:
    arguments = ("--repository", str(repository), "--protocol", "http", "--concurrency", "1", *QUICK, "--json")
    outcome = bench("linear", *arguments, "--duration", "2s")
    assert outcome.code == 0, outcome.err
    assert outcome.report["environment"]["server"]["local"] is True
    (row,) = outcome.report["measurements"]
    assert (row["protocol"], row["precision"]) == ("http", "fp32")
    assert row["metrics"]["nv_cpu_memory_used_bytes"]["most"] > 1e6


def test_ids_stay_where_the_model_has_rows(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "embed", "--concurrency", "1", "--batch-size", "4", *QUICK, "--json"))
    assert outcome.code == 0, outcome.err
    assert "ids of any size are measured at 128; choose with --shape" in outcome.err
    assert outcome.report["measurements"][0]["failed"] == 0


def test_every_type_can_be_sent_through_shared_memory_too(bench: Bench, server: Server) -> None:
    for memory in ("none", "system"):
        outcome = bench(*asked(server, "echo", "--concurrency", "1", "--shared-memory", memory, *QUICK, "--json"))
        assert outcome.code == 0, outcome.err
        (command,) = outcome.report["measurements"][0]["commands"]
        assert ("--shared-memory system" in command) == (memory == "system")


def test_samples_are_sent(bench: Bench, server: Server, workdir: Path) -> None:
    np.savez(workdir / "s.npz", ids=np.full((3, 5), 9))
    outcome = bench(*asked(server, "embed", "--input-data", "s.npz", "--concurrency", "1", *QUICK, "--output", "out"))
    assert outcome.code == 0, outcome.err
    rows = json.loads((workdir / "out/inputs/embed-1.json").read_text())["data"]
    assert [row["ids"]["shape"] for row in rows] == [[5]] * 3


def test_rates_can_be_poisson(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "linear", "--request-rate", "100", "--arrivals", "poisson", *QUICK, "--json"))
    assert outcome.code == 0, outcome.err
    (row,) = outcome.report["measurements"]
    assert (row["request_rate"], row["arrivals"]) == (100, "poisson")
    assert "concurrency" not in row
    assert "--request-distribution poisson" in row["commands"][0]


def test_batches_of_the_dynamic_batcher_are_counted(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "16", *QUICK, "--json"))
    (row,) = outcome.report["measurements"]
    assert sum(row["batches"].values()) > 3
    assert max(map(int, row["batches"])) > 1


def test_an_unstable_load_is_reported_as_unstable(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "linear", "--concurrency", "4", *QUICK, "--stability", "0.1", "--json"))
    assert outcome.code == 0
    (row,) = outcome.report["measurements"]
    assert row["stable"] is False
    assert row["discarded"] == 2
    assert "differs by" in row["reason"]
    assert row["throughput"] > 0


def test_a_limit_that_is_kept_and_one_that_is_not(bench: Bench, server: Server) -> None:
    arguments = asked(server, "linear", "--concurrency", "1", *QUICK)
    assert bench(*arguments, "--latency-slo", "p50:10s").code == 0
    broken = bench(*arguments, "--latency-slo", "p99:1us")
    assert broken.code == 8
    assert "error: linear keeps p99 <= 0.001 ms under no load: the lowest measured is " in broken.err
    assert "report: " in broken.out


def test_refused_requests_are_a_failure(bench: Bench, server: Server) -> None:
    outcome = bench(*asked(server, "strict", "--concurrency", "1,16", *QUICK, "--json"))
    assert outcome.code == 8
    # On a busy machine its time may be over before it has read the refusals.
    reasons = "Exceeds maximum queue size|No valid requests recorded"
    assert re.search(f"no figures for strict at concurrency 16: perf_analyzer: ({reasons})", outcome.err)
    fine, refused = outcome.report["measurements"]
    assert fine["throughput"] > 0
    assert refused["throughput"] is None
    assert refused["failed"] >= 1
    assert outcome.report["error"]["exit_code"] == 8


def test_measurements_are_kept_if_the_server_dies(bench: Bench, repository: Path, workdir: Path) -> None:
    def kill() -> None:
        deadline = time.monotonic() + 60
        while len(list(workdir.glob("bench_results/*/raw/*.log"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(doomed.pid, signal.SIGKILL)

    with running_server(repository) as doomed:
        killer = threading.Thread(target=kill)
        killer.start()
        outcome = bench(*asked(doomed, "linear", "--concurrency", "1", *QUICK, "--repeats", "100", "--json"))
        killer.join()
    assert outcome.code == 7
    assert "error: the server no longer answers" in outcome.err
    assert outcome.report["incomplete"]
    assert outcome.report["measurements"][0]["throughput"] > 0
    assert Path(outcome.report["report"]).is_file()


@contextmanager
def running(workdir: Path, logs: int, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Run bench in a process of its own, and yield it when it has ``logs`` logs, or measures."""
    script = "from modelrepo.cli.entry import modelrepo; modelrepo()"
    command = [sys.executable, "-c", script, "bench", *arguments, "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list(workdir.glob("out/raw/*.log"))) < logs or not processes(workdir):
        assert time.monotonic() < deadline, process.communicate(timeout=1)
        time.sleep(0.05)
    yield process
    assert not processes(workdir)


def processes(workdir: Path) -> list[Path]:
    """Return the processes of perf_analyzer that write to a folder."""
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(workdir / "out/raw") in _read(path)]


def test_an_interrupt_keeps_measurements_and_leaves_no_process(server: Server, workdir: Path) -> None:
    arguments = asked(server, "linear", "--concurrency", "1", *QUICK, "--repeats", "100")
    with running(workdir, 2, *arguments) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"Incomplete: interrupted\. The figures come from \d+ of 100 rounds\.", out)
    assert err.startswith("plan: 1 model, 1 load, 100 rounds: 100 runs of 0.3 s, about 46 s; at most ")
    assert "error: interrupted: the earlier measurements are in the report" in err
    assert json.loads((workdir / "out/results.json").read_text())["incomplete"] == "interrupted"


def test_an_interrupt_during_a_second_try_keeps_the_first(server: Server, workdir: Path) -> None:
    arguments = asked(server, "linear", "--concurrency", "1", "--duration", "1s", "--stability", "0.1", "--json")
    with running(workdir, 1, *arguments) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == json.loads(out)["error"]["exit_code"] == 130
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: interrupted: the earlier measurements are in the report"
    ]
    (row,) = json.loads(out)["measurements"]
    assert row["throughput"] > 0
    assert row["stable"] is False


def test_an_interrupt_before_anything_was_measured_leaves_nothing(server: Server, workdir: Path) -> None:
    with running(workdir, 0, *asked(server, "linear", "--duration", "60s")) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted"
    assert list(workdir.iterdir()) == []


def test_shared_memory_is_given_back_and_not_shared(server: Server, workdir: Path, bench: Bench) -> None:
    arguments = asked(server, "linear", "--shared-memory", "system", "--concurrency", "1")
    with running(workdir, 0, *arguments, "--duration", "60s") as process:
        deadline = time.monotonic() + 30
        while not Path("/dev/shm/input_0_0").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        second = bench(*arguments, "--quiet")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert second.code == 8
    assert "another bench passes tensors through shared memory" in second.err
    assert not Path("/dev/shm/input_0_0").exists()
    with urllib.request.urlopen(f"{server.http_url}/v2/systemsharedmemory/status") as status:
        assert json.load(status) == []


def test_proxies_are_not_used(bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for url in (server.grpc_url, server.http_url):
        arguments = ("--url", url, "--metrics-url", server.metrics_url, "--concurrency", "1", *QUICK, "-v")
        outcome = bench("linear", *arguments)
        assert outcome.code == 0, outcome.err
        assert "$ env -u " in outcome.err


def test_a_full_disk_costs_the_report_and_not_the_figures(
    bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise PerfError("can't write: No space left on device")

    monkeypatch.setattr("modelrepo.perf.report.write", full)
    outcome = bench(*asked(server, "linear", "--concurrency", "1", *QUICK, "--json"))
    assert outcome.code == 8
    assert outcome.report["measurements"][0]["throughput"] > 0
    assert outcome.report["report"] is None
    assert "No space left on device" in outcome.report["error"]["message"]


def test_brackets_in_a_name_are_not_markup(bench: Bench, server: Server, workdir: Path) -> None:
    phase = '[[phases]]\nname = "[/x] [b]"\nseconds = 0.5\nconcurrency = 1\n'
    (workdir / "odd.toml").write_text(phase)
    outcome = bench(*asked(server, "linear", "--scenario", "odd.toml"))
    assert outcome.code == 0, outcome.err
    assert "[/x] [b]" in outcome.out


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


BAD: dict[str, tuple[tuple[str, ...], int]] = {
    "no model": ((), 2),
    "the same version twice": (("linear", "linear:1", "--concurrency", "1"), 2),
    "a version spelled otherwise": (("linear:01", "--concurrency", "1"), 2),
    "an empty option": (("linear", "--latency-slo", ""), 2),
    "rounds of a scenario": (("linear", "--scenario", "smoke", "--repeats", "7"), 2),
    "rate of a scenario without shares": (("linear", "--scenario", "smoke", "--request-rate", "7"), 2),
    "protocol of a url": (("linear", "--protocol", "http"), 2),
    "shape of samples": (("embed", "--input-data", ".", "--shape", "ids:3"), 2),
    "a sample of many GB": (("echo", "--shape", "object:999999999"), 2),
    "metrics of no server": (("linear", "--metrics-url", "http://127.0.0.1:abc/metrics"), 2),
    "metrics in a file": (("linear", "--metrics-url", "file:///etc/passwd"), 2),
    "frameworks and JSON": (("linear", "--frameworks", "--input-data", "x.json"), 2),
    "options of a list": (("--scenario", "list", "--concurrency", "2"), 2),
    "unknown model": (("linaer", "--concurrency", "1"), 7),
    "unknown version": (("linear:9", "--concurrency", "1"), 7),
    "batch of a model without batches": (("echo", "--batch-size", "2"), 2),
    "batch too large": (("linear", "--batch-size", "1,9"), 2),
    "both kinds of load": (("linear", "--concurrency", "1", "--request-rate", "5"), 2),
    "arrivals of nothing": (("linear", "--arrivals", "poisson"), 2),
    "unreadable concurrency": (("linear", "--concurrency", "many"), 2),
    "shape of no input": (("embed", "--shape", "nope:3"), 2),
    "no such samples": (("linear", "--input-data", "nope.npz"), 2),
    "not published with samples": (("linear", "--input-data", "samples"), 2),
    "no such JSON": (("linear", "--input-data", "nope.json"), 2),
    "metrics that are none": (("linear", "--metrics-url", "http://127.0.0.1:9/metrics"), 2),
    "compare and a model": (("linear", "--compare", "a.json", "b.json"), 2),
    "compare of nothing": (("--compare", "a.json", "b.json"), 8),
    "no such scenario": (("linear", "--scenario", "rampe"), 2),
    "scenario and frameworks": (("linear", "--scenario", "ramp", "--frameworks"), 2),
    "scenario and concurrency": (("linear", "--scenario", "ramp", "--concurrency", "2"), 2),
    "frameworks and a limit": (("linear", "--frameworks", "--latency-slo", "p99:1s"), 2),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(
    name: str, bench: Bench, server: Server, workdir: Path, golden: Golden
) -> None:
    arguments, code = BAD[name]
    if not {"--compare", "list"} & set(arguments):
        metrics = () if "--metrics-url" in arguments else ("--metrics-url", server.metrics_url)
        arguments = (*arguments, "--url", server.grpc_url, *metrics, "--duration", "0.3s")
    outcome = bench(*arguments, "--quiet")
    assert outcome.code == code, outcome.err
    said = outcome.err.replace(str(workdir), "…").replace(server.grpc_url, "grpc://…")
    golden(f"messages/bench/{name.replace(' ', '-')}.txt", said)
    assert said.count("\n") == 1
    assert list(workdir.iterdir()) == []


def test_a_missing_extra_is_an_error_before_anything_is_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    outcome = bench("linear", "--repository", "nowhere")
    assert outcome.code == 8
    assert outcome.err == "error: plotext is not installed. pip install 'modelrepo[bench]'\n"
    assert list(workdir.iterdir()) == []


def test_an_address_without_a_server_is_an_error(bench: Bench, workdir: Path) -> None:
    outcome = bench("linear", "--url", "grpc://127.0.0.1:1", "--quiet")
    assert outcome.code == 7
    assert outcome.err.count("\n") == 1
    assert list(workdir.iterdir()) == []


def test_the_error_for_a_url_without_a_scheme_shows_how_to_write_it(bench: Bench) -> None:
    outcome = bench("linear", "--url", "gpu-host:8001")
    assert outcome.code == 2
    assert "Write grpc://gpu-host:8001" in outcome.err


def test_earlier_results_are_not_overwritten(bench: Bench, server: Server, workdir: Path) -> None:
    (workdir / "out").mkdir()
    (workdir / "out/results.json").write_text("precious")
    outcome = bench(*asked(server, "linear", *QUICK, "--output", "out"))
    assert outcome.code == 2
    assert "is not an empty folder. Name another one with --output" in outcome.err
    assert (workdir / "out/results.json").read_text() == "precious"


def test_two_results_are_compared(bench: Bench, server: Server) -> None:
    for name in ("one", "two"):
        bench(*asked(server, "linear", "--concurrency", "1", *QUICK, "--repeats", "3", "--output", name))
    outcome = bench("--compare", "one", "two/results.json", "--json")
    assert outcome.code == 0, outcome.err
    assert [row["metric"] for row in outcome.report["changes"]] == ["throughput", "p50", "p99"]
    printed = bench("--compare", "one", "two")
    assert "linear / linear" in printed.out


def test_a_published_model_is_measured_in_its_own_precision(
    bench: Bench, generate: Generate, numpy_models: None, workdir: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])], "half",
        [value("x", TensorProto.FLOAT16, ["n", 4])], [value("y", TensorProto.FLOAT16, ["n", 2])],
        [numpy_helper.from_array(np.ones((4, 2), "float16"), "W")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "half.onnx")
    assert generate("--model", "onnx:half.onnx", "--backends", "onnx").code == 0
    outcome = bench("half", "--concurrency", "1", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.report["measurements"][0]["precision"] == "fp16"
