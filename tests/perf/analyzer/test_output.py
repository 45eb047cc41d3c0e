"""The output of perf_analyzer is read by name, and its errors are reported in one line."""

from pathlib import Path

import pytest

from modelrepo.clients.settings import parse_url
from modelrepo.generator.errors import PerfError
from modelrepo.perf.analyzer import export
from modelrepo.perf.analyzer.command import Request, arguments, written
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Window

# As perf_analyzer 2.50 writes it with --verbose-csv.
TABLE = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,"
    "Avg latency,request/response,response wait\n"
    "4,1925.41,4,451,590,30,796,194,1,1980,2564,2846,5551,2069,5,2049\n"
)
LOG = """\
Request concurrency: 4
  Pass [1] throughput: 1808.32 infer/sec. Avg latency: 2201 usec (std 1380 usec). 
  Pass [2] throughput: 1864.19 infer/sec. Avg latency: 2138 usec (std 917 usec). 
  Pass [3] throughput: 2.10274e+03 infer/sec. Avg latency: 1895 usec (std 450 usec). 
  Client: 
    Request count: 6977
    [WARNING] Perf Analyzer was not able to keep up with the desired request rate. 6.67% of the requests were delayed. 
    Throughput: 1925.41 infer/sec
"""  # noqa: W291
REJECTED = """\
Failed to retrieve results from inference request.
Thread [0] had error: [request id: 0] Exceeds maximum queue size

Thread [1] had error: [request id: 281474976710656] Exceeds maximum queue size
"""


def test_figures_are_read_by_the_name_of_their_column(tmp_path: Path) -> None:
    columns, values = (line.split(",") for line in TABLE.splitlines())
    (tmp_path / "table.csv").write_text(",".join(reversed(columns)) + "\n" + ",".join(reversed(values)) + "\n")
    figures = export.read_table(tmp_path / "table.csv", LOG)
    assert (figures.throughput, figures.latency.avg, figures.latency.p99) == (1925.41, 2069, 5551)
    assert (figures.server.queue, figures.server.compute_infer, figures.client.network) == (590, 796, 451)
    assert figures.requests == 6977
    assert figures.delayed == pytest.approx(0.0667)


@pytest.mark.parametrize("text", ["", "Concurrency\n", "Concurrency,p50 latency\n1,2\n", TABLE.replace("1980", "fast")])
def test_a_different_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(PerfError, match=r"table\.csv can't be read"):
        export.read_table(tmp_path / "table.csv", LOG)


def test_windows_are_read_from_the_log() -> None:
    assert export.windows(LOG) == (Window(1808.32, 2201), Window(1864.19, 2138), Window(2102.74, 1895))


def test_windows_that_differ_are_not_a_measurement() -> None:
    windows = export.windows(LOG)
    assert export.unsteady(windows, 20, 3) == ""
    assert export.unsteady(windows, 10, 3) == "throughput differs by 16 % between windows"
    assert export.unsteady(windows[:2], 20, 3) == "only 2 of 3 windows"
    assert export.unsteady((Window(5, 1), Window(5, 0), Window(5, 1)), 20, 3).startswith("latency differs by inf")


@pytest.mark.parametrize(
    ("err", "message"),
    [
        (REJECTED, "Exceeds maximum queue size"),
        ("error: failed to get model metadata: Request for unknown model: 'm' is not found\n\n",
         "failed to get model metadata: Request for unknown model: 'm' is not found"),
        ("WARNING: Unable to parse 'nv_gpu_utilization' metric.\ncb::Error: No valid requests recorded within time "
         "interval. Please use a larger time window.\n", "No valid requests recorded within time interval. Please use "
         "a larger time window"),
        ("", "exit code 99"),
    ],
)  # fmt: skip
def test_a_complaint_is_one_line_without_its_wrapping(err: str, message: str) -> None:
    assert export.complaint("", err, 99) == message


def request(url: str, load: Load, **more: object) -> Request:
    return Request("m", "3", parse_url(url), load, 0.5, Path("in.json"), Path("t.csv"), **more)  # type: ignore[arg-type]


def test_the_command_has_every_option_of_the_request() -> None:
    command = " ".join(arguments(request("grpc://host:8001", Load(4, concurrency=8))))
    assert command == (
        "-m m -x 3 -i grpc -u host:8001 -a -b 4 --concurrency-range 8 --input-data in.json --measurement-interval 500 "
        "--stability-percentage 999999 --max-trials 3 -v --verbose-csv -f t.csv"
    )


def test_rates_are_in_the_command() -> None:
    command = " ".join(arguments(request("http://host:8000", Load(1, request_rate=12.5, arrivals="poisson"))))
    assert "-i http -u host:8000 " in command
    assert "--request-rate-range 12.5 --request-distribution poisson" in command


def test_shared_memory_has_room_for_the_outputs() -> None:
    command = arguments(request("grpc://h:1", Load(1, concurrency=1), shared_memory="system", output_bytes=4096))
    assert " --shared-memory system --output-shared-memory-size 4096 " in " ".join(command)


def test_tls_is_in_the_command() -> None:
    assert "--ssl-grpc-use-ssl true" in " ".join(arguments(request("grpcs://h:1", Load(1, concurrency=1))))


def test_a_command_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    assert written(("a b", "-c"), {"LD_LIBRARY_PATH": "/x y", "HOME": "/home/x"}) == "LD_LIBRARY_PATH='/x y' 'a b' -c"
