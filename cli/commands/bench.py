"""`modelrepo bench`: measure what is served, compare it, load-test it, and report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.verbose import VERBOSE
from modelrepo.generator.errors import OptionError

if TYPE_CHECKING:
    from modelrepo.perf.bench import BenchOptions, Mode
    from modelrepo.perf.results.loads import Arrivals, Load
    from modelrepo.perf.scenarios.scenario import Scenario

BATCH_SIZES = {"measure": "1", "scenario": "1", "frameworks": "1,4,8,16"}
MODES = {"compare": "compare", "list": "scenario list", "scenario": "scenario", "frameworks": "frameworks"}
# The options without an effect in each mode; modes that measure nothing allow none.
IGNORED: dict[str, tuple[str, ...]] = {
    "measure": (),
    "scenario": ("concurrency", "arrivals", "repeats"),
    "frameworks": ("concurrency", "request_rate", "arrivals", "stability", "latency_slo"),
}
EXAMPLES = """
\b
Examples:
  modelrepo bench resnet50_onnx                        a local server, concurrency 1 to 16
  modelrepo bench resnet50_onnx --concurrency 1:64 --latency-slo p99:50ms
  modelrepo bench bert_onnx bert_onnx_fp16 --url grpc://gpu-host:8001 --repeats 10
  modelrepo bench resnet50_onnx --request-rate 50,100,200 --arrivals poisson
  modelrepo bench bert_onnx --shape input_ids:384 --shape attention_mask:384
  modelrepo bench resnet50_onnx --scenario ramp --latency-slo p99:50ms
  modelrepo bench resnet50_onnx --frameworks           how much faster is the converted model?
  modelrepo bench --compare monday/results.json today/results.json

\b
Exit codes:
  0 done                            6 repository
  1 unexpected                      7 server
  2 usage                           8 no figures, a broken SLO, a lost or wrong answer
  3 source, with --frameworks       130 interrupted; what was measured is reported
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("models", nargs=-1, metavar="[MODEL[:VERSION]]...")
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a local server for the run.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True,
              help="The protocol for a local server.")  # fmt: skip
@click.option("--concurrency", metavar="N|A,B|A:B[:STEP]", help="Requests in flight; A:B doubles. Default: 1:16.")
@click.option("--request-rate", metavar="N|A,B|A:B:STEP", help="Requests a second, instead of --concurrency.")
@click.option("--arrivals", type=click.Choice(["constant", "poisson"]), help="With --request-rate. Default: constant.")
@click.option("--batch-size", metavar="N|A,B", help="Samples in a request. Default: 1; with --frameworks 1,4,8,16.")
@click.option("--input-data", default="random", show_default=True, metavar="random|samples|FILE",
              help="Random values within the model's domains (photographs and texts for a model that takes these), the "
                   "samples it was published with, or a file: .npz, .npy, pictures or a folder of them, a .txt of "
                   "texts, one a line, or a .json for perf_analyzer.")  # fmt: skip
@click.option("--shape", "shapes", multiple=True, metavar="NAME:DIMS",
              help="The shape of an input with dimensions of any size.")  # fmt: skip
@click.option("--shared-memory", type=click.Choice(["none", "system"]), default="none", show_default=True,
              help="Pass tensors through /dev/shm; the server must run on this machine.")  # fmt: skip
@click.option("--duration", metavar="SECONDS",
              help="The length of a run, or of a whole scenario, such as 5s or 2m. Default: 1s to 3s, longer for "
                   "slower models; 3s with --frameworks; the scenario's own.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Rounds; intervals narrow with more.")  # fmt: skip
@click.option("--stability", type=click.FloatRange(0.1, 1000), default=10.0, show_default=True, metavar="PERCENT",
              help="How far the windows of a run may differ; other runs are repeated, then marked.")  # fmt: skip
@click.option("--latency-slo", metavar="P:LIMIT", help="A limit such as p99:20ms; fails if no load keeps it.")
@click.option("--scenario", metavar="NAME|FILE", help="Run a load test; `list` shows them.")
@click.option("--frameworks", is_flag=True, help="Compare source framework, ONNX Runtime and the served model.")
@click.option("--compare", nargs=2, type=click.Path(path_type=Path), metavar="BEFORE AFTER",
              help="Show the changes between two results, and measure nothing.")  # fmt: skip
@click.option("--metrics-url", help="Triton's metrics. Default: port 8002 of the server.")
@click.option("--analyzer", type=click.Choice(["auto", "path", "wheel", "container"]), default="auto",
              show_default=True, help="Where perf_analyzer comes from.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), help="Default: bench_results/ and the time.")
@json_flag("Print the results as one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only warnings, errors and the results.")
@VERBOSE
def bench(
    models: tuple[str, ...],
    compare: tuple[Path, Path] | None,
    scenario: str | None,
    frameworks: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Measure served models with NVIDIA's perf_analyzer.

    Every load is measured in rounds. Several models are measured in turn, and compared by ratio with a confidence
    interval and with the difference of a model from itself. The report, one HTML page and the same as Markdown, CSV and
    JSON, goes to --output. Throughput counts samples a second, latency is the time a client waits for a request.
    """
    from modelrepo.cli.terminal import bench_output
    from modelrepo.cli.terminal.errors import client_errors, show_error
    from modelrepo.cli.terminal.long_steps import LongSteps
    from modelrepo.generator.progress import Progress

    mode = _mode(compare, scenario, frameworks)
    _refuse_ignored(mode, models, given)
    if compare:
        bench_output.print_changes(*compare, as_json=as_json)
        return
    if mode == "list":
        bench_output.print_scenarios(as_json=as_json)
        return
    options = _options(mode, models, scenario, given)
    from modelrepo.perf.announce import announce
    from modelrepo.perf.bench import bench as measure
    from modelrepo.perf.failure import failure

    progress = Progress(LongSteps(quiet, verbose))
    with client_errors():
        announce(options, progress)
        results, page = measure(options, progress)
    error = failure(results, page is not None)
    bench_output.print_results(results, page, error, as_json=as_json)
    if error:
        show_error(str(error))
    raise click.exceptions.Exit(error.exit_code if error else 0)


def _mode(compare: object, scenario: str | None, frameworks: bool) -> str:
    """Return the mode; OptionError for two modes."""
    modes = {"compare": compare, "scenario": scenario, "frameworks": frameworks or None}
    asked = [name for name, given in modes.items() if given is not None]
    if len(asked) > 1:
        raise OptionError(f"--{asked[0]} and --{asked[1]} were both given", "Give one of them")
    return "list" if scenario == "list" else asked[0] if asked else "measure"


def _refuse_ignored(mode: str, models: tuple[str, ...], given: dict[str, Any]) -> None:
    """Raise OptionError for an option without an effect, and for an empty one (a script's variable may be unset)."""
    source = click.get_current_context().get_parameter_source
    asked = {name: _flag(name) for name in given if source(name) == ParameterSource.COMMANDLINE}
    for name, flag in asked.items():
        if given[name] == "":
            raise OptionError(f"{flag} is empty", "Give it a value, or leave it out")
        if name in IGNORED.get(mode, given):
            raise OptionError(f"{flag} can't be combined with --{MODES[mode]}", "Leave one of them out")
    if mode in ("compare", "list") and models:
        raise OptionError(f"--{MODES[mode]} measures nothing", "Leave the models out")
    for one, other in (("protocol", "url"), ("concurrency", "request_rate")):
        if one in asked and other in asked:
            raise OptionError(f"{asked[one]} can't be combined with {asked[other]}", "Leave one of them out")
    for name, needed, why in (
        ("metrics_url", "url", "is for a server that is running already"),
        ("arrivals", "request_rate", "is for the requests of a rate"),
    ):
        if name in asked and needed not in asked:
            raise OptionError(f"{asked[name]} {why}", f"Give {_flag(needed)} too, or leave it out")


def _flag(name: str) -> str:
    return "--shape" if name == "shapes" else f"--{name.replace('_', '-')}"


def _options(mode: str, models: tuple[str, ...], scenario: str | None, given: dict[str, Any]) -> "BenchOptions":
    """Return the options; OptionError for a value that can't be read."""
    from modelrepo.generator.options.config_file import default_repository
    from modelrepo.perf.bench import BenchOptions
    from modelrepo.perf.measuring.session import parse_shapes
    from modelrepo.perf.measuring.target import Data
    from modelrepo.perf.results import loads
    from modelrepo.perf.scenarios.scenario import read

    if not models:
        raise OptionError("no model named", "Name one or more, as in: modelrepo bench resnet50_onnx")
    if given["url"] and "://" not in given["url"]:
        raise OptionError(f"the URL {given['url']!r} has no scheme", f"Write grpc://{given['url']}")
    if mode == "frameworks" and given["input_data"].endswith(".json"):
        raise OptionError("--frameworks can't read perf_analyzer's JSON", "Give --input-data a .npz file")
    batch_sizes = loads.parse_batch_sizes(given["batch_size"] or BATCH_SIZES[mode])
    rates = loads.parse_rates(given["request_rate"]) if given["request_rate"] else ()
    playing = read(scenario) if scenario is not None else None
    if playing:
        _check_scenario(playing, batch_sizes, rates)
    return BenchOptions(
        mode=cast("Mode", mode),
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
        scenario=playing,
        metrics_url=given["metrics_url"],
        analyzer=given["analyzer"],
        output=given["output"],
    )


def _check_scenario(playing: "Scenario", batch_sizes: tuple[int, ...], rates: tuple[float, ...]) -> None:
    if len(batch_sizes) > 1 or len(rates) > 1:
        raise OptionError("a scenario has one --request-rate and one --batch-size", "Name one of each")
    if rates and not any(phase.share for phase in playing.phases):
        raise OptionError(f"no phase of {playing.name} has a share of a rate", "Leave --request-rate out")


def _loads(batch_sizes: tuple[int, ...], rates: tuple[float, ...], given: dict[str, Any]) -> "tuple[Load, ...]":
    from modelrepo.perf.results.loads import Load, parse_concurrency

    arrivals: Arrivals = given["arrivals"] or "constant"
    if rates:
        return tuple(Load(size, request_rate=rate, arrivals=arrivals) for size in batch_sizes for rate in rates)
    many = parse_concurrency(given["concurrency"] or "1:16")
    return tuple(Load(size, concurrency=number) for size in batch_sizes for number in many)
