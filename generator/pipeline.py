"""The story of `generate`: load, export, verify, stage, publish."""

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator import model_config, sources, verify
from generator.backends import BACKENDS
from generator.content_key import ContentKey, content_key
from generator.errors import ModelRepoError, OptionError, RepositoryError, VerificationError
from generator.export import EXPORTERS
from generator.manifest import PendingPlan, Provenance, SourceRecord
from generator.model_config import LABELS, ConfigPlan, ConfigWriter
from generator.options import published_name
from generator.progress import Progress
from generator.releases import release_named
from generator.repository import CONFIG, Published, Repository, StagedModel, record_files
from generator.sources.model import SourceModel
from generator.specs import Artifact, Deferred, Export, Options, Order, Report, Result, Verification


@dataclass(frozen=True)
class Job:
    """One model to generate: its own name, and its options."""

    name: str
    options: Options


@dataclass(frozen=True)
class Target:
    """What one backend of a job is published as, and the key that tells whether it is there already."""

    model: str
    backend: str
    name: str
    key: ContentKey


@dataclass(frozen=True)
class Proven:
    """An exported model with what verification says of it, and the largest batch that Triton may form."""

    source: SourceModel
    export: Export
    verification: Verification
    max_batch_size: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PreparedPlan:
    """A deferred target: the folder that holds what its command needs, and its entry in ``plans.lock``."""

    folder: Path
    entry: PendingPlan


def generate(jobs: list[Job], repository: Path, progress: Progress, *, dry_run: bool = False) -> Report:
    """Generate every job's models; one that fails is a row of the report and keeps no other from its turn.

    An interrupt ends the run, and the report still says what stands.
    """
    _refuse_same_names(jobs)
    target = Repository(repository)
    results: list[Result] = []
    for position, job in enumerate(jobs):
        try:
            results += generate_model(job, target, progress, dry_run=dry_run)
        except ModelRepoError as error:
            results += _failed(job, error)
        except OSError as error:
            place = error.filename or target.root
            results += _failed(job, RepositoryError(f"can't write {place}: {error.strerror or error}"))
        except KeyboardInterrupt:
            results += [row for each in jobs[position:] for row in _standing(each, target)]
            return Report(target.root, tuple(results), progress.total(), interrupted=True)
    return Report(target.root, tuple(results), progress.total())


def generate_model(job: Job, repository: Repository, progress: Progress, *, dry_run: bool = False) -> list[Result]:
    """Generate one model for each of its backends, and publish all of them or none."""
    targets = _targets(job)
    for target in targets:
        repository.preflight(target.name)
        _check_served_versions(job.options, target.name, repository)
    done = {target.name: _settled(target, job.options, repository, progress, dry_run) for target in targets}
    missing = [target for target in targets if done[target.name] is None]
    if missing and dry_run:
        done.update({target.name: _would_publish(target, repository) for target in missing})
    elif missing:
        writer = ConfigWriter(job.options.templates, job.options.config_patch)
        with _collector_paused(), repository.staging() as staging:
            proven = _prove(job, staging, progress)
            prepared = [
                (target, _prepare(target, job.options, proven, writer, repository, staging)) for target in missing
            ]
            with progress.step("publish", f"publishing in {repository.root}"), repository.locked():
                # What Triton serves comes last, so that nothing can fail after it.
                for target, ready in sorted(prepared, key=lambda pair: isinstance(pair[1], StagedModel)):
                    done[target.name] = _publish(target, ready, repository, progress)
    return [result for result in done.values() if result]


def _prove(job: Job, staging: Path, progress: Progress) -> Proven:
    """Load the source, export it, and compare the two."""
    options = job.options
    _, scheme, name = sources.find(options.model)
    with progress.step("load", f"loading {options.model}") as step:
        source = scheme.load(name, options, progress)
        step.outcome = f"{source.weights.kind} weights ({source.weights.detail})"
    with progress.step("export", "exporting to ONNX") as step:
        path = staging / "onnx" / "model.onnx"
        path.parent.mkdir()
        release = release_named(options.target_release)
        export = EXPORTERS[source.framework].export(source, path, options.opset, release)
        size = sum(file.stat().st_size for file in export.files) / 1e6
        step.outcome = f"opset {export.opset}, {size:.1f} MB, {export.exporter} exporter"
    if options.verify:
        with progress.step("verify", "verifying against the source") as step:
            verification = _verify(source, export, options)
            step.outcome = f"{verification.cases} cases, worst difference {verification.max_rel_diff:.1e}"
            if verification.top1 is not None:
                step.outcome += f", top-1 agreement {verification.top1:.0%}"
    else:
        verification = Verification()
        progress.warn(f"{job.name} was not verified: nothing tells whether it answers as its source does")
    max_batch_size, reasons = _served_batch(options, export, verification)
    notes = (*export.notes, *verification.notes, *reasons)
    for note in notes:
        progress.warn(f"{job.name}: {note}")
    return Proven(source, export, verification, max_batch_size, notes)


def _verify(source: SourceModel, export: Export, options: Options) -> Verification:
    samples = verify.load_samples(options.samples, export.signature.inputs) if options.samples else None
    try:
        return verify.verify(
            source.run,
            verify.onnx_runner(export.path),
            export.signature,
            max_batch_size=options.max_batch_size,
            seed=options.seed,
            samples=samples,
            tolerance=options.tolerance,
        )
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise VerificationError(
            f"not enough memory to verify at batch {options.max_batch_size}", "Lower --max-batch-size"
        ) from error


def _served_batch(options: Options, export: Export, verification: Verification) -> tuple[int, tuple[str, ...]]:
    """Return the largest batch that Triton may form, and why it is 0 where the user asked for more."""
    if not options.max_batch_size:
        return 0, ()
    unbatched = export.signature.unbatched
    if unbatched:
        tensors = ", ".join(map(str, unbatched))
        return 0, (f"batching is off: {tensors} without the leading batch dimension that all others share",)
    if verification.mixing:
        return 0, (f"batching is off: samples of one batch influence each other in {', '.join(verification.mixing)}",)
    return options.max_batch_size, ()


def _prepare(
    target: Target, options: Options, proven: Proven, writer: ConfigWriter, repository: Repository, staging: Path
) -> StagedModel | PreparedPlan:
    """Lay out what a backend serves, or what is needed to build it elsewhere, in the staging folder."""
    order = Order(
        name=target.name,
        export=proven.export,
        max_batch_size=proven.max_batch_size,
        preferred_batch_sizes=model_config.preferred_batch_sizes(target.backend, options, proven.max_batch_size),
        release=release_named(options.target_release),
        folder=repository.plan_folder(target.name),
    )
    config = _config_plan(target, options, proven)

    def render(version: int) -> str:
        return writer.render(config, version, repository.versions(target.name))

    version = repository.next_version(target.name)
    built = BACKENDS[target.backend].build(order)
    text = render(version)
    max_batch_size = model_config.max_batch_size(text)
    if isinstance(built, Deferred):
        return _prepare_plan(target, proven, built, text, max_batch_size, staging)
    folder = staging / target.name
    _lay_out(built, folder / str(version))
    if any(tensor.labels for tensor in config.outputs):
        (folder / LABELS).write_text("".join(f"{label}\n" for label in proven.source.labels), "utf-8")
    return StagedModel(
        name=target.name,
        backend=target.backend,
        folder=folder,
        files=record_files(folder),
        max_batch_size=max_batch_size,
        render=render,
        provenance=_provenance(target, proven),
    )


def _prepare_plan(
    target: Target, proven: Proven, built: Deferred, config: str, max_batch_size: int, staging: Path
) -> PreparedPlan:
    folder = staging / f"{target.name}.plan"
    folder.mkdir()
    for file in proven.export.files:
        shutil.copy2(file, folder / file.name)
    (folder / CONFIG).write_text(config, "utf-8")
    entry = PendingPlan(
        key=target.key.digest,
        reason=built.reason,
        command=built.command,
        inputs=built.inputs,
        max_batch_size=max_batch_size,
        provenance=_provenance(target, proven),
        files=record_files(folder),
    )
    return PreparedPlan(folder, entry)


def _lay_out(artifact: Artifact, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, path in artifact.files.items():
        try:
            os.link(path, folder / name)
        except OSError:  # a file system without hard links
            shutil.copy2(path, folder / name)


def _config_plan(target: Target, options: Options, proven: Proven) -> ConfigPlan:
    weights = proven.source.weights
    parameters = {"source": proven.source.reference, "weights": f"{weights.kind}: {weights.detail}"}
    if weights.untrained:
        parameters["untrained"] = "true"
    return model_config.plan(
        target.name,
        target.backend,
        options,
        proven.export.signature,
        proven.max_batch_size,
        proven.source.labels,
        parameters,
    )


def _provenance(target: Target, proven: Proven) -> Provenance:
    source, export = proven.source, proven.export
    return Provenance(
        key=target.key.digest,
        source=SourceRecord(
            reference=source.reference,
            weights=source.weights,
            preprocess=source.preprocess,
            exporter=export.exporter,
            opset=export.opset,
            ir_version=export.ir_version,
            notes=proven.notes,
        ),
        options=target.key.options,
        tools=target.key.tools,
        verification=proven.verification,
    )


def _publish(
    target: Target, prepared: StagedModel | PreparedPlan, repository: Repository, progress: Progress
) -> Result:
    if isinstance(prepared, PreparedPlan):
        repository.defer(target.name, prepared.folder, prepared.entry)
        return _deferred(target, prepared.entry, repository)
    published = repository.publish(prepared)
    for note in published.notes:
        progress.warn(f"{target.name}: {note}")
    return _published(target, published, repository)


# --- what is there already


def _targets(job: Job) -> list[Target]:
    names = {backend: published_name(job.name, job.options, backend) for backend in job.options.backends}
    return [Target(job.name, backend, name, content_key(name, backend, job.options)) for backend, name in names.items()]


def _check_served_versions(options: Options, name: str, repository: Repository) -> None:
    """Refuse to list a version that will not stand in the repository: Triton would serve none, or log an error."""
    standing, coming = repository.versions(name), repository.next_version(name)
    absent = set(options.version_policy.versions) - standing - {coming}
    if absent:
        raise OptionError(
            f"the version policy lists version {min(absent)} of {name}, which is not there",
            f"There are {', '.join(map(str, sorted(standing))) or 'none'}, and the next will be {coming}",
        )


def _refuse_same_names(jobs: list[Job]) -> None:
    seen: set[str] = set()
    for job in jobs:
        for backend in job.options.backends:
            name = published_name(job.name, job.options, backend)
            if name in seen:
                raise OptionError(f"two models would be published as {name!r}", "Tell them apart with name_template")
            seen.add(name)


def _settled(
    target: Target, options: Options, repository: Repository, progress: Progress, dry_run: bool
) -> Result | None:
    """Return the row of a target that is published or pending already; no framework is imported to tell."""
    newest = repository.newest(target.name)
    if newest and _stands(newest.provenance, target, options):
        if newest.untrained:
            progress.warn(f"{target.name} version {newest.version} has RANDOM weights: its answers mean nothing")
        if not repository.in_force(newest) and not dry_run:
            with repository.locked():
                return _published(target, repository.activate(newest), repository)
        if repository.edited(newest):
            progress.warn(
                f"{repository.root / target.name / CONFIG} was edited by hand and is left as it is; "
                "to have the edits in every version, put them in a file for --config-patch"
            )
        return _published(target, Published("unchanged", newest), repository)
    plan = repository.pending_plan(target.name)
    return _deferred(target, plan, repository) if plan and _stands(plan.provenance, target, options) else None


def _stands(provenance: Provenance, target: Target, options: Options) -> bool:
    """Tell whether what was made then is what would be made now, and proven if that is asked for."""
    arrived = provenance.source.weights.expected_at
    return (
        provenance.key == target.key.digest
        and (provenance.verification.passed is not None or not options.verify)
        and not (arrived and Path(arrived).exists())  # the weights whose absence made it untrained
    )


def _standing(job: Job, repository: Repository) -> list[Result]:
    """Return the rows of a job that an interrupt ended, before or after it was published."""
    return [
        _settled(target, job.options, repository, Progress(), dry_run=True)
        or _row(target, status="skipped", notes=("interrupted",))
        for target in _targets(job)
    ]


# --- rows of the report


def _row(target: Target, **values: Any) -> Result:
    return Result(target.model, BACKENDS[target.backend].TRITON_NAME, target.name, **values)


def _published(target: Target, published: Published, repository: Repository) -> Result:
    manifest = published.manifest
    return _row(
        target,
        status=published.status,
        version=manifest.version,
        path=repository.root / target.name / str(manifest.version),
        max_batch_size=manifest.max_batch_size,
        verification=manifest.provenance.verification,
        notes=(*manifest.provenance.source.notes, *published.notes),
    )


def _deferred(target: Target, plan: PendingPlan, repository: Repository) -> Result:
    return _row(
        target,
        status="deferred",
        path=repository.plan_folder(target.name),
        max_batch_size=plan.max_batch_size,
        next_step=plan.command,
        notes=(plan.reason,),
    )


def _would_publish(target: Target, repository: Repository) -> Result:
    version = repository.next_version(target.name)
    return _row(target, status="skipped", notes=(f"dry run: would be made as version {version}",))


def _failed(job: Job, error: ModelRepoError) -> list[Result]:
    return [
        Result(
            job.name,
            BACKENDS[backend].TRITON_NAME,
            published_name(job.name, job.options, backend),
            status="failed",
            failure=error,
            next_step=error.hint or None,
        )
        for backend in job.options.backends
    ]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's cycle collector: importing and tracing make millions of objects that live to the end anyway."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
