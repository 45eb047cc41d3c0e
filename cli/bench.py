"""`modelrepo bench`: measure what is served, compare it, load-test it, and report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from generator.errors import OptionError

if TYPE_CHECKING:
    from perf.bench import Mode, Options
    from perf.loads import Arrivals, Load

EXAMPLES = """
\b
Examples:
  modelrepo bench resnet50_onnx                        a local server, concurrency 1 to 16
  modelrepo bench resnet50_onnx --concurrency 1:64 --latency-slo p99:50ms
  modelrepo bench bert_onnx bert_onnx_fp16 --url grpc://gpu-host:8001 --repeats 10
  modelrepo bench resnet50_onnx --request-rate 50,100,200 --arrivals poisson
  modelrepo bench bert_onnx --input-data sentences.npz --shape input_ids:384
  modelrepo bench resnet50_onnx --scenario ramp --latency-slo p99:50ms
  modelrepo bench resnet50_onnx --frameworks           what did conversion buy?
  modelrepo bench --compare monday/results.json today/results.json

\b
Exit codes:
  0 done                            6 repository
  1 unexpected                      7 server
  2 usage                           8 no figures, an SLO broken, an answer lost or wrong
  3 source, with --frameworks       130 interrupted; what was measured is reported
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("models", nargs=-1, metavar="[MODEL[:VERSION]]...")
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a local server for the run.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True,
              help="How a local server is asked.")  # fmt: skip
@click.option("--concurrency", metavar="N|A,B|A:B[:STEP]", help="Requests in flight; A:B doubles. Default: 1:16.")
@click.option("--request-rate", metavar="N|A,B|A:B:STEP", help="Requests a second, instead of --concurrency.")
@click.option("--arrivals", type=click.Choice(["constant", "poisson"]), help="Of --request-rate. Default: constant.")
@click.option("--batch-size", metavar="N|A,B", help="Samples in a request. Default: 1; with --frameworks 1,4,8,16.")
@click.option("--input-data", default="random", show_default=True, metavar="random|samples|FILE",
              help="Values within the model's domains, the samples it was published with, or a .npz, .npy, folder, "
                   "or perf_analyzer's .json.")  # fmt: skip
@click.option("--shape", "shapes", multiple=True, metavar="NAME:DIMS", help="Of an input with dimensions of any size.")
@click.option("--shared-memory", type=click.Choice(["none", "system"]), default="none", show_default=True,
              help="Pass tensors through /dev/shm; the server must run on this machine.")  # fmt: skip
@click.option("--duration", metavar="SECONDS", help="Of a run, such as 5s or 2m. Default: 3s, or the scenario's own.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Rounds; intervals narrow with more.")  # fmt: skip
@click.option("--stability", type=click.FloatRange(0.1, 1000), default=10.0, show_default=True, metavar="PERCENT",
              help="How far the windows of a run may lie apart; other runs are repeated, then marked.")  # fmt: skip
@click.option("--latency-slo", metavar="P:LIMIT", help="Such as p99:20ms; fails where no load keeps it.")
@click.option("--scenario", metavar="NAME|FILE", help="Play a load test; `list` tells which there are.")
@click.option("--frameworks", is_flag=True, help="Compare source framework, ONNX Runtime and the served model.")
@click.option("--compare", nargs=2, type=click.Path(path_type=Path), metavar="BEFORE AFTER",
              help="Tell what changed between two results, and measure nothing.")  # fmt: skip
@click.option("--metrics-url", help="Triton's metrics. Default: port 8002 of the server.")
@click.option("--analyzer", type=click.Choice(["auto", "path", "wheel", "container"]), default="auto",
              show_default=True, help="Where perf_analyzer comes from.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), help="Default: bench_results/ and the time.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only warnings, errors and the results.")
def bench(
    models: tuple[str, ...],
    compare: tuple[Path, Path] | None,
    scenario: str | None,
    frameworks: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Measure served models with NVIDIA's perf_analyzer.

    Every load is measured in rounds; several models are measured in turn, and compared by ratio with a confidence
    interval and with what a model differs from itself. The report, one HTML page with its twins in Markdown, CSV and
    JSON, goes to --output. Throughput counts samples a second, latencies are what a client waits for a request.
    """
    from cli import bench_output
    from cli.errors import INTERRUPTED, client_errors, tell
    from cli.report import Follower
    from generator.progress import Progress

    if compare:
        _refuse_others(models, scenario, frameworks)
        bench_output.tell_changes(*compare, as_json=as_json)
        return
    if scenario == "list":
        bench_output.tell_scenarios(as_json=as_json)
        return
    options = _options(models, scenario, frameworks, given)
    from perf import bench as measuring

    with client_errors():
        results, page = measuring.bench(options, Progress(Follower(quiet)))
    error = measuring.failure(results)
    bench_output.tell_results(results, page, error, as_json=as_json)
    if error:
        tell(str(error))
    if results.incomplete == measuring.INTERRUPTED:
        tell("interrupted: what was measured until then is in the report")
        raise click.exceptions.Exit(INTERRUPTED)
    raise click.exceptions.Exit(error.exit_code if error else 0)


def _refuse_others(models: tuple[str, ...], scenario: str | None, frameworks: bool) -> None:
    if models or scenario or frameworks:
        raise OptionError("--compare measures nothing", "Leave models, --scenario and --frameworks out")


def _options(models: tuple[str, ...], scenario: str | None, frameworks: bool, given: dict[str, Any]) -> "Options":
    """Return what was asked for; OptionError for options that do not go together or can't be read."""
    from generator.options import default_repository
    from perf import loads
    from perf.bench import Options
    from perf.scenarios.scenario import read
    from perf.session import parse_shapes
    from perf.target import Data

    mode: Mode = "scenario" if scenario else "frameworks" if frameworks else "measure"
    _check(mode, models, scenario, frameworks, given)
    batch_sizes = loads.parse_batch_sizes(given["batch_size"] or ("1,4,8,16" if frameworks else "1"))
    rates = loads.parse_rates(given["request_rate"]) if given["request_rate"] else ()
    return Options(
        mode=mode,
        models=tuple(dict.fromkeys(models)),
        url=given["url"],
        repository=given["repository"] or default_repository(),
        protocol=given["protocol"],
        loads=_loads(batch_sizes, rates, given) if mode == "measure" else (),
        batch_sizes=batch_sizes,
        rate=rates[0] if rates else None,
        data=Data(given["input_data"], parse_shapes(given["shapes"])),
        shared_memory=given["shared_memory"],
        seconds=loads.parse_duration(given["duration"]) if given["duration"] else None,
        repeats=given["repeats"],
        stability=given["stability"],
        slo=loads.parse_slo(given["latency_slo"]) if given["latency_slo"] else None,
        scenario=read(scenario) if scenario else None,
        metrics_url=given["metrics_url"],
        analyzer=given["analyzer"],
        output=given["output"],
    )


def _check(
    mode: "Mode", models: tuple[str, ...], scenario: str | None, frameworks: bool, given: dict[str, Any]
) -> None:
    if not models:
        raise OptionError("no model named", "Name one or more, as in: modelrepo bench resnet50_onnx")
    if scenario and frameworks:
        raise OptionError("--scenario and --frameworks were both given", "Give one of them")
    if given["concurrency"] and (given["request_rate"] or mode != "measure"):
        other = "--request-rate" if given["request_rate"] else f"--{mode}"
        raise OptionError(f"--concurrency can't be combined with {other}", "Leave one of them out")
    if mode == "frameworks" and (given["request_rate"] or given["latency_slo"]):
        raise OptionError("--frameworks calls one at a time", "Leave --request-rate and --latency-slo out")
    if given["arrivals"] and not (given["request_rate"] and mode == "measure"):
        raise OptionError("--arrivals says how requests of a --request-rate follow each other", "Give both, or neither")
    if mode == "scenario" and (
        "," in (given["request_rate"] or "") + (given["batch_size"] or "") or ":" in (given["request_rate"] or "")
    ):
        raise OptionError("a scenario has one --request-rate and one --batch-size", "Name one of each")
    if given["url"] and "://" not in given["url"]:
        raise OptionError(f"the URL {given['url']!r} has no scheme", f"Write grpc://{given['url']}")


def _loads(batch_sizes: tuple[int, ...], rates: tuple[float, ...], given: dict[str, Any]) -> "tuple[Load, ...]":
    from perf.loads import Load, parse_concurrency

    arrivals: Arrivals = given["arrivals"] or "constant"
    if rates:
        return tuple(Load(size, request_rate=rate, arrivals=arrivals) for size in batch_sizes for rate in rates)
    many = parse_concurrency(given["concurrency"] or "1:16")
    return tuple(Load(size, concurrency=number) for size in batch_sizes for number in many)
