"""The steps of `modelrepo compare`: find a model's variants, ask them the same inputs, and measure them with bench.

``modelrepo.perf.bench`` measures the served models; sizes and agreement come from the repository's files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.verification import accuracy
from modelrepo.perf import bench
from modelrepo.perf.analyzer.find import Way
from modelrepo.perf.announce import announce
from modelrepo.perf.measuring.target import Data
from modelrepo.perf.results import documents
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Comparison, Measurement, Results
from modelrepo.perf.variants import agreement, lineage
from modelrepo.perf.variants.agreement import Agreement, AskedVariant, same_tensors
from modelrepo.perf.variants.lineage import Variant


@dataclass(frozen=True)
class CompareOptions:
    """The options of ``compare``; see ``modelrepo.perf.bench.BenchOptions`` for those of measuring.

    ``concurrency`` is the load for throughput, ``shapes`` the input shapes to measure with. Without ``samples`` the
    agreement is that on random inputs.
    """

    models: Sequence[str]
    repository: Path
    url: str | None
    samples: Path | None
    concurrency: int
    seconds: float | None
    repeats: int
    stability: float
    shapes: Mapping[str, tuple[int, ...]]
    metrics_url: str | None
    analyzer: Way
    output: Path | None


@dataclass(frozen=True)
class VariantFigures:
    """The figures of a variant; ``latency`` and ``throughput`` compare it with the first.

    ``single`` was measured at concurrency 1, ``crowded`` at the load for throughput. ``reasons`` say why figures are
    missing.
    """

    variant: Variant
    single: Measurement | None
    crowded: Measurement | None
    latency: Comparison | None
    throughput: Comparison | None
    agreement: Agreement | None
    reasons: tuple[str, ...]

    @property
    def accuracy(self) -> Accuracy | None:
        """The accuracy on labelled samples: the user's, or those that it was published with."""
        if self.agreement and self.agreement.accuracy:
            return self.agreement.accuracy
        published = self.variant.provenance
        known = published.optimization.accuracy or published.verification.accuracy  # of a lower precision, or of FP32
        return known if known and known.measured == accuracy.TOP1_OF_LABELS else None


@dataclass(frozen=True)
class Compared:
    """The outcome of a comparison: a row for each variant, the baseline first, and bench's results and report."""

    rows: tuple[VariantFigures, ...]
    concurrency: int
    inputs: str
    results: Results
    page: Path | None


def compare_variants(options: CompareOptions, progress: Progress) -> Compared:
    """Compare variants of a model, or all that the repository has of the one that is named.

    Raises ModelRepoError and ClientError if there is nothing to compare, as ``bench`` does, and OptionError for models
    with different inputs.
    """
    variants = lineage.found(options.models, options.repository, options.url, progress)
    baseline = variants[0]
    if baseline.unserved:
        raise OptionError(f"can't compare models with {baseline.name}: {baseline.unserved}", "Name another model first")
    for other in variants[1:]:
        _refuse_other_inputs(baseline, other)
    measuring = _measuring(options, variants)
    announce(measuring, progress)
    asked = [AskedVariant(each.name, each.onnx, each.provenance, each.max_batch_size, each.labels)
             for each in variants if each.onnx]  # fmt: skip
    agreed: Mapping[str, Agreement] = {}
    problems: Mapping[str, str] = {baseline.name: "it has no ONNX model to ask"}
    if baseline.onnx:
        agreed, problems = agreement.agreements(asked, options.samples, progress)
    results, page = bench.bench(measuring, progress)
    for variant in variants:
        served = {each.subject.version for each in results.measurements if each.subject.model == variant.name}
        if served - {str(variant.version)}:
            progress.warn(
                f"{variant.name}: version {', '.join(served)} is served and was measured; size and agreement are those "
                f"of version {variant.version}"
            )
    rows = tuple(_row(each, options, results, agreed, problems) for each in variants)
    inputs = str(options.samples) if options.samples else f"{accuracy.GENERATED} random inputs"
    return Compared(rows, options.concurrency, inputs, replace(results, warnings=tuple(progress.warnings)), page)


def _measuring(options: CompareOptions, variants: Sequence[Variant]) -> bench.BenchOptions:
    """Return the options for bench: one request at a time for the latency, and many for the throughput."""
    return bench.BenchOptions(
        mode="measure",
        models=[each.name for each in variants if not each.unserved],
        url=options.url,
        repository=options.repository,
        protocol="grpc",
        loads=_loads(options),
        batch_sizes=(1,),
        rate=None,
        data=Data("random", options.shapes),
        shared_memory="none",
        seconds=options.seconds,
        repeats=options.repeats,
        stability=options.stability,
        slo=None,
        scenario=None,
        metrics_url=options.metrics_url,
        analyzer=options.analyzer,
        output=options.output,
    )


def _loads(options: CompareOptions) -> tuple[Load, ...]:
    return tuple(Load(concurrency=many) for many in dict.fromkeys((1, options.concurrency)))


def _refuse_other_inputs(baseline: Variant, other: Variant) -> None:
    ours, theirs = baseline.provenance.source.inputs, other.provenance.source.inputs
    if not same_tensors(ours, theirs):
        one, another = (", ".join(map(str, specs)) for specs in (ours, theirs))
        raise OptionError(
            f"can't compare {baseline.name} and {other.name}: they take {one} and {another}",
            "Name models that were made from the same source",
        )


def _row(
    variant: Variant,
    options: CompareOptions,
    results: Results,
    agreed: Mapping[str, Agreement],
    problems: Mapping[str, str],
) -> VariantFigures:
    def measured(load: Load) -> Measurement | None:
        return next((m for m in results.measurements if m.subject.model == variant.name and m.load == load), None)

    def compared(load: Load, metric: str) -> Comparison | None:
        own = (c for c in results.comparisons if c.subject.model == variant.name and c.load == load)
        return next((each for each in own if each.metric == metric), None)

    single, crowded = (measured(load) for load in (_loads(options)[0], _loads(options)[-1]))
    reasons = [variant.unserved] if variant.unserved else []
    reasons += [problems[variant.name]] if variant.name in problems else []
    reasons += [f"{each.load}: {each.reason}" for each in (single, crowded) if each and not each.figures]
    return VariantFigures(
        variant,
        single,
        crowded,
        compared(_loads(options)[0], "p50"),
        compared(_loads(options)[-1], "throughput"),
        agreed.get(variant.name),
        tuple(dict.fromkeys(reasons)),
    )


def to_document(compared: Compared) -> dict[str, Any]:
    """Return a comparison as plain values for JSON: sizes in bytes, latencies in microseconds, samples a second."""
    baseline = compared.rows[0].variant
    return {
        "baseline": baseline.name,
        "concurrency": compared.concurrency,
        "inputs": compared.inputs,
        "models": [_row_document(row, baseline) for row in compared.rows],
        "environment": compared.results.environment,
        "incomplete": compared.results.incomplete,
        "warnings": list(compared.results.warnings),
        "report": str(compared.page) if compared.page else None,
    }


def _row_document(row: VariantFigures, baseline: Variant) -> dict[str, Any]:
    variant = row.variant
    single, crowded = (each.figures if each else None for each in (row.single, row.crowded))
    return {
        "model": variant.name,
        "version": variant.version,
        "backend": variant.backend,
        "precision": variant.precision,
        "size_bytes": variant.size,
        "size_ratio": size_ratio(variant, baseline),
        "latency_p50_us": single.latency.p50 if single else None,
        "latency": documents.comparison_document(row.latency) if row.latency else None,
        "throughput": crowded.throughput if crowded else None,
        "throughput_comparison": documents.comparison_document(row.throughput) if row.throughput else None,
        "stable": all(each.stable for each in (row.single, row.crowded) if each),
        "agreement": asdict(row.agreement) if row.agreement else None,
        "sparsity": variant.sparsity,
        "accuracy": asdict(row.accuracy) if row.accuracy else None,
        "reasons": list(row.reasons),
    }


def size_ratio(variant: Variant, baseline: Variant) -> float | None:
    """Return a variant's size over the baseline's, None if either is not known."""
    return variant.size / baseline.size if variant.size is not None and baseline.size else None
