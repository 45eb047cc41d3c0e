"""Loading, exporting and verifying one source model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.backends.backend import ONNX_FORM, Form
from modelrepo.generator.coverage.code import OwnCode
from modelrepo.generator.coverage.domains import narrowed
from modelrepo.generator.coverage.ranges import arbitrary_outputs, has_ties, known_ranges, quantized_steps
from modelrepo.generator.coverage.search import Search
from modelrepo.generator.errors import VerificationError
from modelrepo.generator.export import exporter_of
from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.walk import shares_ranges
from modelrepo.generator.optimize.variant import MIXES
from modelrepo.generator.pipeline import labels, warm_up
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.pipeline.widening import Chosen
from modelrepo.generator.preparation import innermost, wrapped
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources.domains import told, with_domains
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import Effort, Options
from modelrepo.generator.specs.preparation import AFTER, BEFORE
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.system import memory
from modelrepo.generator.system.asking import Limit
from modelrepo.generator.triton.releases import release_named
from modelrepo.generator.verification import accuracy, datasets, verify
from modelrepo.generator.verification.comparison import INT8, Precision
from modelrepo.generator.verification.datasets import NO_DATA, Dataset
from modelrepo.generator.verification.declared import as_declared
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.probing import Arbitrary
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import Run

# What rounding to 8 bits loses, as a share of the largest number: half a step of 127.
EIGHT_BITS = 0.5 / 127
# The search in a whole model, after a thorough one in the model within it.
QUICK = Effort("quick")
ROUNDS = "it rounds to 8 bits within, as each kernel does in its own way: its answers are compared as those of INT8"


def load(job: Job, limit: Limit, progress: Progress) -> SourceModel:
    """Load the source model of a job; each of its answers is limited in time."""
    loader, name = sources.find(job.options.model)
    memory.give_back()
    with progress.step("load", f"loading {job.options.model}") as step:
        with limit.on("loading"):
            named = job.options.labels if job.options.with_postprocessing else None
            source = wrapped(loader.load(name, job.options, progress), job.options, labels.read(named) if named else ())
        step.outcome = f"{source.weights.kind} weights ({source.weights.detail})"
    source = replace(source, inputs=_told(source, job.options), run=limit.each(source.run))
    return replace(source, wider=source.wider and _told_alike(source.wider, source.inputs, limit))


def _told_alike(wider: SourceModel, told: tuple[TensorSpec, ...], limit: Limit) -> SourceModel:
    """Return the same source with wider types, with what is known of the inputs of the narrower one."""
    inputs = tuple(
        replace(own, dtype=wide.dtype, example=None if own.example is None else own.example.astype(wide.dtype))
        for own, wide in zip(told, wider.inputs, strict=True)
    )
    return replace(wider, inputs=inputs, run=limit.each(wider.run))


def prove(
    job: Job, chosen: Chosen, reference: Remembered, form: Form, folder: Path, limit: Limit, progress: Progress
) -> Proven:
    """Export a source model to a form, and compare the two; ``reference`` keeps the source's answers for later."""
    options, source = job.options, chosen.source
    export = _askable(reference.ask, form, _exported(source, form, folder, options, limit, progress), options)
    if not options.with_postprocessing:
        source = labels.named(source, export.signature, options)
    given = options.samples, export.signature, source.preprocess, source.labels, source.own_labels
    samples = datasets.samples(*given, options.label_column)
    code = OwnCode(source.watched) if source.watched and options.verify else None
    ask = code.watching(reference.ask) if code else reference.ask
    seen, precision = warm_up.Seen(), INT8 if source.quantized else None
    ranks = bool(source.labels)
    compared = Compared(ask, form, export, source.framework, samples, code, precision, seen, ranks, chosen.asked)
    verification = _verified(compared, source, options, limit, progress)
    max_batch_size, reasons = _served_batch(options, compared, verification)
    converted = seen.run or (lambda arrays: form.open(export.path)(arrays))
    batched = max_batch_size > 0
    zeros = warm_up.answered(seen.shapes, reference.recall, converted, export.signature, batched=batched)
    cautions = release_named(options.target_release).cautions if form is ONNX_FORM else ()
    said = (*told(options.domain), *([ROUNDS] if source.quantized else []), *cautions)
    cold = (warm_up.NONE,) if zeros is None else ()
    notes = (*source.notes, *export.notes, *said, *samples.notes, *verification.notes, *reasons, *cold)
    proven = Proven(
        source,
        reference,
        export,
        verification,
        max_batch_size,
        notes,
        precision=precision,
        samples=samples,
        warm_up=zeros,
        ranges=compared.ranges,
    )
    proven = _on_samples(proven, converted, options, progress)
    if not chosen.said:
        return proven
    of_samples = f"{proven.verification.samples}; {chosen.said}"
    return replace(proven, verification=replace(proven.verification, samples=of_samples))


def _on_samples(proven: Proven, converted: Run, options: Options, progress: Progress) -> Proven:
    """Return a proven model with its accuracy on labelled samples, and with what was done with the user's samples."""
    samples, found, reached = proven.samples, proven.verification, None
    notes: tuple[str, ...] = ()
    if options.verify and samples.labels is not None:
        with progress.step("verify", f"measuring accuracy on {samples.count} labelled samples") as step:
            reached, notes = accuracy.of_labels(
                _noting(proven.reference.recall, "source", proven, progress),
                _noting(converted, "converted", proven, progress),
                samples,
                proven.export.signature,
                batch=proven.max_batch_size,
                classes=len(proven.source.labels),
            )
            step.outcome = "" if reached is None else f"{reached.value:.1%} (the source: {reached.source:.1%})"
    said = datasets.told(samples, options.samples, reached.samples if reached else 0, compared=options.verify)
    found = replace(found, accuracy=reached, samples=said)
    return replace(proven, verification=found, notes=(*proven.notes, *notes))


def _noting(run: Run, model: str, proven: Proven, progress: Progress) -> Run:
    """Return a run of one of two models that notes how many of the user's samples it has answered."""
    batches = count(0, max(1, proven.max_batch_size))

    def asked(arrays: Arrays) -> Mapping[str, Array]:
        progress.note(f"{model}: {next(batches)} of {proven.samples.count}")
        return run(arrays)

    return asked


def _exported(
    source: SourceModel, form: Form, folder: Path, options: Options, limit: Limit, progress: Progress
) -> Export:
    with progress.step("export", f"exporting to {form.title}") as step, limit.on("exporting"):
        export = exporter_of(source.framework, form.name).export(source, folder, options)
        size = sum(file.stat().st_size for file in export.files) / 1e6
        step.outcome = f"opset {export.opset}, {size:.1f} MB, {export.exporter} exporter"
    memory.give_back()
    return export


def _told(source: SourceModel, options: Options) -> tuple[TensorSpec, ...]:
    """Return a source's inputs with what the user says of them: their domains, and samples as examples."""
    inputs = with_domains(source.inputs, options.domain) if source.inputs else ()
    unknown = any(not spec.domain.known and spec.example is None for spec in inputs)
    return (
        datasets.as_examples(inputs, options.samples, options.label_column) if unknown and options.samples else ()
    ) or inputs


def _askable(ask: Run, form: Form, export: Export, options: Options) -> Export:
    """Return an export whose inputs have the domains that the user gives them, or else that the source answers.

    What the graph does with its inputs is read of ONNX alone.
    """
    signature = export.signature
    signature = replace(signature, inputs=with_domains(signature.inputs, options.domain))
    if options.verify and form is ONNX_FORM:
        signature = narrowed(ask, signature, export.path, options.seed)
    return replace(export, signature=signature)


@dataclass(frozen=True)
class Compared:
    """An exported model and its source, and what both are asked."""

    ask: Run  # the source
    form: Form
    export: Export
    framework: str  # of the source
    samples: Dataset = NO_DATA
    code: OwnCode | None = None  # watches ``ask``
    precision: Precision | None = None  # if the source is coarser than FP32
    seen: warm_up.Seen | None = None  # watches the exported model
    ranks: bool = False  # its classes have names, so it is a classifier
    asked: tuple[Pool, ...] = ()  # rows beside the samples that must be answered right

    @cached_property
    def ranges(self) -> Mapping[str, float]:
        """The largest magnitude of the outputs whose range is known."""
        return known_ranges(self.export.path) if self.form is ONNX_FORM else {}


def verified(
    compared: Compared, options: Options, progress: Progress, title: str = "verifying against the source"
) -> Verification:
    """Compare an exported model with its source; VerificationError if they differ."""
    if not options.verify:
        return Verification(
            notes=("not verified: it may answer differently from its source, and differently in batches",)
        )
    export, search = compared.export, _search(compared, options)
    with progress.step("verify", title) as step:
        try:
            answer = as_declared(compared.form.open(export.path), export.signature)
            found = verify.verify(
                compared.ask,
                compared.seen.watching(answer) if compared.seen else answer,
                export.signature,
                max_batch_size=options.max_batch_size,
                seed=options.seed,
                samples=(*compared.samples.compared, *compared.asked),
                tolerance=options.tolerance,
                precision=compared.precision,
                rounds=EIGHT_BITS if compared.precision else 0.0,
                probing=search,
                ranges=compared.ranges,
                arbitrary=_arbitrary(export) if search else None,
            )
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            raise VerificationError(
                f"not enough memory to verify at batch {options.max_batch_size}", "Lower --max-batch-size"
            ) from error
        if search:
            memory.give_back()
            found = replace(found, coverage=search.coverage())
        ranking = "" if found.top1 is None or not compared.ranks else f", top-1 agreement {found.top1:.0%}"
        reached = f", {found.coverage}" if found.coverage and found.coverage.behaviours else ""
        step.outcome = f"{found.cases} cases, worst difference {found.max_rel_diff:.1e}{ranking}{reached}"
    return found


def _verified(
    compared: Compared, source: SourceModel, options: Options, limit: Limit, progress: Progress
) -> Verification:
    """Compare an exported model with its source, and before that the model within it.

    A graph after a model hides most of its answers, such as the scores of all classes but the best, and one before it
    makes each of them cost a picture.
    """
    within = compared.export.within
    if within is None or not options.verify:
        return verified(compared, options, progress)
    raw = innermost(source)
    ask = Remembered(limit.each(raw.run)).ask
    same = [spec.name for spec in within.signature.inputs] == [spec.name for spec in compared.export.signature.inputs]
    inner = replace(
        compared,
        ask=ask,
        export=_askable(ask, compared.form, within, options),
        framework=raw.framework,
        samples=compared.samples if same else NO_DATA,
        code=None,
        seen=None,
        asked=(),
    )
    found = verified(inner, options, progress, "verifying the model without the graphs around it")
    outer = replace(compared, framework=raw.framework)
    whole = verified(outer, replace(options, verify_effort=QUICK), progress)
    mixing = whole.mixing if not found.mixing else tuple(spec.name for spec in compared.export.signature.outputs)
    invariant = whole.batch_invariant if not found.mixing else False
    notes = tuple(dict.fromkeys((*found.notes, *whole.notes)))
    return replace(whole, coverage=found.coverage, mixing=mixing, batch_invariant=invariant, notes=notes)


def _search(compared: Compared, options: Options) -> Search | None:
    if compared.form is not ONNX_FORM:
        return None
    return Search(
        compared.export.path,
        compared.export.signature,
        options.verify_effort,
        options.seed,
        code=compared.code,
        cautious=compared.framework == "onnx",
        flushing=compared.framework == "tensorflow",
        beside=(BEFORE, AFTER) if compared.export.within else (),
    )


def _arbitrary(export: Export) -> Arbitrary:
    return Arbitrary(
        frozenset(arbitrary_outputs(export.path)), partial(has_ties, export.path), quantized_steps(export.path)
    )


def _served_batch(options: Options, compared: Compared, verification: Verification) -> tuple[int, tuple[str, ...]]:
    """Return the largest batch that Triton may form, and the reasons if it is 0 although the user asked for more."""
    if not options.max_batch_size:
        return 0, ()
    export = compared.export
    unbatched = export.signature.required.unbatched
    if unbatched:
        tensors = ", ".join(map(str, unbatched))
        return 0, (f"batching is off: {tensors} without the leading batch dimension that all others share",)
    if verification.mixing:
        return 0, (f"batching is off: samples of one batch influence each other in {', '.join(verification.mixing)}",)
    if compared.precision and compared.form is ONNX_FORM and shares_ranges(outline.read(export.path)):
        return 0, (MIXES,)
    return options.max_batch_size, ()
