"""`modelrepo compare`: size, latency, throughput and agreement of a model's variants."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.verbose import VERBOSE
from modelrepo.generator.errors import OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from modelrepo.perf.results.results import Comparison, Measurement
    from modelrepo.perf.variants.variants import Compared, CompareOptions, VariantFigures

EMPTY_CELL = "-"
# The sign after a ratio for bench's verdict.
SIGNS = {"better": "▲", "worse": "▼", "noise": "=", "unknown": "?"}
MEANINGS = {"▲": "better", "▼": "worse", "=": "no more than noise", "?": "too few rounds for a verdict"}
COLOURS = {"better": "green", "worse": "red", "noise": "dim", "unknown": "yellow"}
EXAMPLES = """
\b
Examples:
  generate --model resnet50 --backends onnx,onnx:fp16,onnx:int8
  modelrepo compare resnet50_onnx                      all models made from the same source and weights
  modelrepo compare resnet50_onnx resnet50_onnx_int8 --samples photos/
  modelrepo compare resnet50_onnx resnet50_tensorrt_fp16 --url grpc://gpu-host:8001 --concurrency 64
  modelrepo compare resnet50_onnx --duration 1s --repeats 3 --json

\b
Exit codes:
  0 done                            7 server
  1 unexpected                      8 no figures
  2 usage                           130 interrupted; what was measured is reported
  6 repository
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--url", help="A server that serves the same repository. Default: a local server for the run.")
@click.option("--samples", type=click.Path(path_type=Path),
              help="The inputs for the agreement: images, .npz, .npy. Default: random.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 4096), default=8, show_default=True,
              help="Requests in flight for the throughput; enough to keep the server busy.")  # fmt: skip
@click.option("--shape", "shapes", multiple=True, metavar="NAME:DIMS",
              help="The shape of an input with dimensions of any size.")  # fmt: skip
@click.option("--duration", metavar="SECONDS",
              help="The length of a run, such as 5s. Default: 1s to 3s, longer for slower models.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Rounds; a verdict needs at least two.")  # fmt: skip
@click.option("--stability", type=click.FloatRange(0.1, 1000), default=10.0, show_default=True, metavar="PERCENT",
              help="How far the windows of a run may differ; other runs are repeated, then marked.")  # fmt: skip
@click.option("--metrics-url", help="Triton's metrics. Default: port 8002 of the server.")
@click.option("--analyzer", type=click.Choice(["auto", "path", "wheel", "container"]), default="auto",
              show_default=True, help="Where perf_analyzer comes from.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), help="Bench's report. Default: bench_results/ and the time.")
@json_flag("Print the comparison as one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only warnings, errors and the table.")
@VERBOSE
def compare(models: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
    """Compare the variants of a model: precisions, backends, pruned models.

    The others are compared with the first model; one name alone stands for all models made from the same source and
    weights. Latency (median, concurrency 1) and throughput are measured as by `modelrepo bench`, in rounds and in turn.
    Agreement is measured with the repository's ONNX files: for classifiers how often they name the same class, for
    other models the largest difference as a share of the answer's magnitude.
    """
    from modelrepo.cli.terminal import tables
    from modelrepo.cli.terminal.errors import client_errors, show_error
    from modelrepo.cli.terminal.long_steps import LongSteps
    from modelrepo.generator.progress import Progress
    from modelrepo.perf.failure import failure
    from modelrepo.perf.variants import variants

    options = _options(models, given)
    with client_errors():
        compared = variants.compare_variants(options, Progress(LongSteps(quiet, verbose)))
    error = failure(compared.results, compared.page is not None)
    if as_json:
        document = variants.to_document(compared)
        if error:
            document["error"] = {"message": str(error), "exit_code": error.exit_code}
        click.echo(json.dumps(document, indent=2))
    else:
        tables.show(_table(compared))
        for line in _remarks(compared):
            click.echo(line)
    if error:
        show_error(str(error))
    raise click.exceptions.Exit(error.exit_code if error else 0)


def _options(models: tuple[str, ...], given: dict[str, Any]) -> "CompareOptions":
    from modelrepo.generator.options.config_file import default_repository
    from modelrepo.perf.measuring.session import parse_shapes
    from modelrepo.perf.results.loads import parse_duration
    from modelrepo.perf.variants.variants import CompareOptions

    if given["url"] is not None and "://" not in given["url"]:
        raise OptionError(f"the URL {given['url']!r} has no scheme", f"Write grpc://{given['url']}")
    if given["metrics_url"] and not given["url"]:
        raise OptionError("--metrics-url is for a server that is running already", "Give --url too, or leave it out")
    return CompareOptions(
        models=tuple(dict.fromkeys(models)),
        repository=given["repository"] or default_repository(),
        url=given["url"],
        samples=given["samples"],
        concurrency=given["concurrency"],
        seconds=parse_duration(given["duration"]) if given["duration"] is not None else None,
        repeats=given["repeats"],
        stability=given["stability"],
        shapes=parse_shapes(given["shapes"]),
        metrics_url=given["metrics_url"],
        analyzer=given["analyzer"],
        output=given["output"],
    )


def _table(compared: "Compared") -> "Table":
    """Return a table with a row for each model; columns without any figure are left out."""
    from rich.table import Table
    from rich.text import Text

    rows = [_cells(row, compared.rows[0]) for row in compared.rows]
    shown = [name for name in rows[0] if name in ("model", "precision") or any(str(row[name]) for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in shown:
        words = name in ("model", "precision")
        # A ratio has no heading of its own: it is beside its figure.
        table.add_column(Text("" if name.endswith(" ratio") else name), justify="left" if words else "right",
                         overflow="fold", no_wrap=name != "model")  # fmt: skip
    for row in rows:
        table.add_row(*(row[name] if str(row[name]) else Text(EMPTY_CELL) for name in shown))
    return table


def _cells(row: "VariantFigures", baseline: "VariantFigures") -> dict[str, Any]:
    """Return a row's cells by their headings, empty if there is no figure."""
    from rich.text import Text

    from modelrepo.perf.report import units
    from modelrepo.perf.variants.variants import size_ratio

    variant, first = row.variant, row is baseline
    smaller = None if first else size_ratio(variant, baseline.variant)
    plain = {
        "model": variant.name,
        "precision": variant.precision,
        "MB": "" if variant.size is None else units.digits(variant.size / 1e6),
        "MB ratio": " " if first else "" if smaller is None else units.factor(smaller),
        "p50 ms": _figure(row.single, lambda figures: figures.latency.p50 / 1e3),
        "p50 ms ratio": _ratio(row.latency, first),
        "samples/s": _figure(row.crowded, lambda figures: figures.throughput),
        "samples/s ratio": _ratio(row.throughput, first),
        "agreement": " " if first else _agreement(row),
        "sparsity": "" if variant.sparsity is None else units.share(variant.sparsity),
        "accuracy": "" if row.accuracy is None else units.share(row.accuracy.value),
    }
    return {name: cell if isinstance(cell, Text) else Text(cell) for name, cell in plain.items()}


def _figure(measured: "Measurement | None", of: Any) -> str:
    from modelrepo.perf.report import units

    if measured is None or measured.figures is None:
        return ""
    return units.digits(of(measured.figures)) + ("" if measured.stable else "*")


def _ratio(comparison: "Comparison | None", first: bool) -> Any:
    """Return a ratio and the sign of its verdict."""
    from rich.text import Text

    from modelrepo.perf.report import units

    if first:
        return " "
    if comparison is None or comparison.ratio is None:
        return "" if comparison is None else Text(SIGNS["unknown"], COLOURS["unknown"])
    return Text(f"{units.factor(comparison.ratio.value)} {SIGNS[comparison.verdict]}", COLOURS[comparison.verdict])


def _agreement(row: "VariantFigures") -> str:
    from modelrepo.perf.report import units

    if row.agreement is None:
        return ""
    if row.agreement.top1 is not None:
        return units.share(row.agreement.top1)
    return f"{row.agreement.max_rel_diff:.1e} off"


def _remarks(compared: "Compared") -> list[str]:
    """Return the lines below the table: loads, signs, the origin of accuracies, and why figures are missing."""
    from modelrepo.perf.report import verdict

    baseline, *others = compared.rows
    lines = [
        f"p50 at concurrency 1, samples/s at concurrency {compared.concurrency}; ratios and agreement with "
        f"{baseline.variant.name}, asked {compared.inputs}"
    ]
    compared_with = [each for row in others for each in (row.latency, row.throughput) if each]
    signs = dict.fromkeys(SIGNS[each.verdict] for each in compared_with)
    lines += [", ".join(f"{sign} {MEANINGS[sign]}" for sign in signs)] if signs else []
    lines += [f"accuracy: {each}" for each in dict.fromkeys(filter(None, map(_labelled, compared.rows)))]
    if any(each and not each.stable for row in compared.rows for each in (row.single, row.crowded)):
        lines.append("* unstable: see the report")
    lines += [f"{row.variant.name}: {reason}" for row in compared.rows for reason in row.reasons]
    lines += [sentence.text for sentence in verdict.incomplete(compared.results)]
    return [*lines, *([f"\nreport: {compared.page}"] if compared.page else [])]


def _labelled(row: "VariantFigures") -> str:
    """Return the origin of a row's accuracy."""
    reached = row.accuracy
    if reached is None:
        return ""
    when = "" if row.agreement and row.agreement.accuracy else f", when published; the source has {reached.source:.1%}"
    return f"{reached.measured}, {reached.samples} samples{when}"
