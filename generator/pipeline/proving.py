"""Loading, exporting and verifying one source model."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.backends.backend import ONNX_FORM, Form
from modelrepo.generator.coverage.code import OwnCode
from modelrepo.generator.coverage.ranges import arbitrary_outputs, has_ties, known_ranges, quantized_steps
from modelrepo.generator.coverage.search import Search
from modelrepo.generator.errors import VerificationError
from modelrepo.generator.export import exporter_of
from modelrepo.generator.export.onnx import AS_IS, DECLARED
from modelrepo.generator.graphs import outline
from modelrepo.generator.optimize import made
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import memory
from modelrepo.generator.verification import datasets, verify
from modelrepo.generator.verification.comparison import INT8
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.declared import as_declared
from modelrepo.generator.verification.probing import Arbitrary
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import Run

# Of a file that is INT8 before it is published.
QUANTIZED = "the file quantizes its own tensors, so its answers may differ as those of INT8 do"


def load(job: Job, progress: Progress) -> SourceModel:
    """Load the source model of a job."""
    loader, name = sources.find(job.options.model)
    memory.give_back()
    with progress.step("load", f"loading {job.options.model}") as step:
        source = loader.load(name, job.options, progress)
        step.outcome = f"{source.weights.kind} weights ({source.weights.detail})"
    return source


def prove(job: Job, source: SourceModel, reference: Remembered, form: Form, folder: Path, progress: Progress) -> Proven:
    """Export a source model to a form, and compare the two; ``reference`` keeps the source's answers for later."""
    options = job.options
    with progress.step("export", f"exporting to {form.title}") as step:
        export = exporter_of(source.framework, form.name).export(source, folder, options)
        size = sum(file.stat().st_size for file in export.files) / 1e6
        step.outcome = f"opset {export.opset}, {size:.1f} MB, {export.exporter} exporter"
    memory.give_back()
    samples = datasets.samples(options.samples, export.signature, source.preprocess, source.labels)
    code = OwnCode(source.watched) if source.watched and options.verify else None
    ask = code.watching(reference.ask) if code else reference.ask
    verification = verified(ask, form, export, samples, options, progress, code)
    max_batch_size, reasons = _served_batch(options, export, verification)
    notes = (*source.notes, *export.notes, *samples.notes, *verification.notes, *reasons)
    precision = INT8 if form is ONNX_FORM and quantizes_itself(export) else None
    return Proven(source, reference, export, verification, max_batch_size, notes, precision=precision, samples=samples)


def verified(
    ask: Run,
    form: Form,
    export: Export,
    samples: Dataset,
    options: Options,
    progress: Progress,
    code: OwnCode | None = None,
) -> Verification:
    """Compare an exported model with its source, ``ask``, which ``code`` watches; VerificationError if they differ."""
    if not options.verify:
        return Verification(
            notes=("not verified: it may answer differently from its source, and differently in batches",)
        )
    with progress.step("verify", "verifying against the source") as step:
        search = None
        rounding = form is ONNX_FORM and quantizes_itself(export)
        if form is ONNX_FORM:
            cautious = sources.find(options.model)[0].frameworks == ("onnx",)
            search = Search(
                export.path, export.signature, options.verify_effort, options.seed, code=code, cautious=cautious
            )
        try:
            found = verify.verify(
                ask,
                as_declared(form.open(export.path), export.signature),
                export.signature,
                max_batch_size=options.max_batch_size,
                seed=options.seed,
                samples=samples.compared,
                tolerance=options.tolerance,
                precision=INT8 if rounding else None,
                probing=search,
                ranges=known_ranges(export.path) if search else {},
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
            found = replace(found, coverage=search.coverage(), notes=(*found.notes, *[QUANTIZED] * rounding))
        ranking = "" if found.top1 is None else f", top-1 agreement {found.top1:.0%}"
        seen = f", {found.coverage}" if found.coverage and found.coverage.behaviours else ""
        step.outcome = f"{found.cases} cases, worst difference {found.max_rel_diff:.1e}{ranking}{seen}"
    return found


def quantizes_itself(export: Export) -> bool:
    """Whether an ONNX file that is served as it is quantizes what its layers read.

    ONNX Runtime rounds to other steps there if it optimizes the file: both are right.
    """
    return export.exporter in (AS_IS, DECLARED) and made.quantized(outline.read(export.path), made.ROUNDING) is not None


def _arbitrary(export: Export) -> Arbitrary:
    return Arbitrary(
        frozenset(arbitrary_outputs(export.path)), partial(has_ties, export.path), quantized_steps(export.path)
    )


def _served_batch(options: Options, export: Export, verification: Verification) -> tuple[int, tuple[str, ...]]:
    """Return the largest batch that Triton may form, and the reasons if it is 0 although the user asked for more."""
    if not options.max_batch_size:
        return 0, ()
    unbatched = export.signature.required.unbatched
    if unbatched:
        tensors = ", ".join(map(str, unbatched))
        return 0, (f"batching is off: {tensors} without the leading batch dimension that all others share",)
    if verification.mixing:
        return 0, (f"batching is off: samples of one batch influence each other in {', '.join(verification.mixing)}",)
    return options.max_batch_size, ()
