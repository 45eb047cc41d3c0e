"""The story of `generate`: load, export, verify, stage, publish."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.backends.backend import ONNX_FORM, Form
from modelrepo.generator.configuration.writer import ConfigWriter
from modelrepo.generator.errors import ModelRepoError, OptionError, RepositoryError
from modelrepo.generator.optimize.variant import Variants
from modelrepo.generator.pipeline import beforehand, existing, rows, unexpected
from modelrepo.generator.pipeline.gate import Gate
from modelrepo.generator.pipeline.job import Context, Job, Target, counted_again, targets_of
from modelrepo.generator.pipeline.proving import load, prove
from modelrepo.generator.pipeline.staging import PreparedPlan, decided, prepare
from modelrepo.generator.plans import finish
from modelrepo.generator.plans.status import spec_of
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.progress import Progress
from modelrepo.generator.rendered import client_code
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.options import Options, RunOptions
from modelrepo.generator.specs.report import Report, Result
from modelrepo.generator.system.asking import Limit
from modelrepo.generator.tensorrt import ways
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered

# Folders of a staging folder, beside those of the targets: no model can have such a name.
EXPORTS, VARIANTS = ".exports", ".variants"


def generate(
    jobs: list[Job], run: RunOptions, progress: Progress, *, dry_run: bool = False, gate: Gate | None = None
) -> Report:
    """Generate every job's models; one that fails becomes a row of the report, and the others still run.

    That holds for unexpected exceptions, too. Staged models must pass the ``gate`` before they are published. An
    interrupt ends the run; the report then lists what was done before.
    """
    _refuse_same_names(jobs)
    context = Context(Repository(run.repository), run, progress, gate, dry_run)
    results: list[Result] = []
    interrupted = False
    for job in jobs:
        done: list[Result] = []
        failure: ModelRepoError | None = None
        try:
            if not interrupted:
                for row in generate_model(job, context):
                    done.append(row if dry_run else _with_client(row, context))
        except ModelRepoError as error:
            failure = error
        except OSError as error:
            about = error.filename or context.repository.root
            failed = error.errno is not None  # otherwise it is a library's, and not about a file
            failure = (
                RepositoryError(f"{error.strerror}: {about}") if failed else unexpected.as_failure(error, job.name)
            )
        except KeyboardInterrupt:
            interrupted = True
        except (Exception, SystemExit) as error:
            failure = unexpected.as_failure(error, job.name)
        done += rows.unfinished(job, done, failure)
        by_name = {row.name: row for row in done}
        results += [by_name[name] for name in job.published_names().values()]
    return Report(context.repository.root, tuple(results), progress.total(), interrupted)


def generate_model(job: Job, context: Context) -> Iterator[Result]:
    """Generate one model for each of its backends, and yield the row of each as soon as it is certain.

    Nothing is published before everything is proven and laid out; the models that Triton serves are published last.
    """
    missing: list[Target] = []
    prepared_before: list[Target] = []
    for target in targets_of(job):
        context.repository.preflight(target.name)
        _check_served_versions(target, context.repository)
        row = existing.find(target, context)
        if row is None and not context.dry_run:
            row = existing.reactivate(target, context)
        plan = None if row else existing.pending(target, context)
        if plan:
            way = ways.find(spec_of(plan), job.options.plan_builder, context.progress)
            row = rows.deferred(target, plan, context.repository, way.deferral) if way.kind == "deferred" else None
        if row:
            yield row
        else:
            (prepared_before if plan else missing).append(target)
    if context.dry_run:
        if missing:
            _refuse_unreadable(job)
        yield from (rows.would_publish(target, context.repository) for target in (*prepared_before, *missing))
        return
    if missing:
        yield from _made(job, missing, context)
    for target in prepared_before:
        yield _built(target, context)


def _refuse_unreadable(job: Job) -> None:
    """Refuse what a dry run can find without loading the model: a template, a patch, a file of data, a source."""
    ConfigWriter(job.options.templates, job.options.config_patch)
    beforehand.check_data(job.options)
    beforehand.check_weights(job.options)
    source, name = sources.find(job.options.model)
    source.check(name, job.options)
    beforehand.check_fit(job.options)


def _made(job: Job, missing: list[Target], context: Context) -> Iterator[Result]:
    """Make the missing targets from the source, and yield the row of each as soon as it is certain."""
    repository, progress = context.repository, context.progress
    writer = ConfigWriter(job.options.templates, job.options.config_patch)
    beforehand.check_data(job.options)
    if context.gate:
        for target in missing:
            context.gate.expect(target.backend, job.options)
    source, name = sources.find(job.options.model)
    here = source.files(name)
    with repository.staging() as staging:
        variants = _variants(job, missing, staging, context)
        if not here:
            missing = counted_again(job, missing)
        for target in missing:
            decided(target, variants[target.backend.form].proven)  # refuses wrong profiles before minutes of lowering
        ready = []
        for target in missing:
            wanted = _variant(target, variants[target.backend.form])
            prepared = prepare(target, wanted, writer, staging, context)
            ready.append((target, _passed(prepared, wanted, job.options, context)))
        with progress.step("publish", f"publishing in {repository.root}"), repository.locked():
            for target, prepared in sorted(ready, key=lambda pair: isinstance(pair[1], StagedModel)):
                row = _publish(target, prepared, context)
                if row:
                    yield row
    for target, prepared in ready:
        if isinstance(prepared, PreparedPlan) and prepared.here:
            yield _built(target, context)


def _variant(target: Target, variants: Variants) -> Proven:
    """Return the model that a target serves; precisions, pruning and clean-up change ONNX graphs only."""
    backend = target.backend
    if backend.form is not ONNX_FORM:
        return variants.proven
    return variants.made(target.choice, read_by_tensorrt=backend.read_by_tensorrt)


def _variants(job: Job, missing: list[Target], staging: Path, context: Context) -> dict[Form, Variants]:
    """Load the source once, and prove it in each form that a backend is made from."""
    progress, limit = context.progress, Limit(job.options.model, context.run.source_timeout)
    source = load(job, limit, progress)
    reference = Remembered(source.run)
    variants: dict[Form, Variants] = {}
    (staging / EXPORTS).mkdir()
    for form in dict.fromkeys(target.backend.form for target in missing):
        proven = prove(job, source, reference, form, staging / EXPORTS / form.name, limit, progress)
        known = {note for each in variants.values() for note in each.proven.notes}
        for note in proven.notes:
            if note not in known:
                progress.warn(f"{job.name}: {note}")
        variants[form] = Variants(proven, job.options, staging / VARIANTS / form.name, progress)
    return variants


def _passed(
    prepared: StagedModel | PreparedPlan, proven: Proven, options: Options, context: Context
) -> StagedModel | PreparedPlan:
    """Return a staged model with the findings of the gate; a plan is checked where it is built."""
    if context.gate is None or isinstance(prepared, PreparedPlan):
        return prepared
    live = context.gate.check(prepared, proven, options)
    for note in (f"no live check: {live.detail}",) if live.status == "skipped" else live.notes:
        context.progress.warn(f"{prepared.name}: {note}")
    verification = replace(prepared.provenance.verification, live=live)
    return replace(prepared, provenance=replace(prepared.provenance, verification=verification))


def _with_client(row: Result, context: Context) -> Result:
    """Write the Python client of a served version, and return its row with the client's path."""
    folder = context.run.client_dir
    newest = context.repository.newest(row.name) if row.status in ("published", "unchanged") else None
    if newest is None or folder is None:
        return row
    path = folder / client_code.module_name(row.name)
    if row.status == "published" or not path.exists() or client_code.is_outdated(path):
        try:
            client_code.write(newest, folder)
        except OptionError as error:  # the version is published all the same
            context.progress.warn(str(error))
            return replace(row, notes=(*row.notes, str(error)))
    return replace(row, client=path)


def _publish(target: Target, prepared: StagedModel | PreparedPlan, context: Context) -> Result | None:
    """Publish a staged model, or keep a prepared plan; None for a plan that is built here next."""
    repository = context.repository
    if isinstance(prepared, PreparedPlan):
        PlanStore(repository).defer(target.name, prepared.folder, prepared.entry)
        return None if prepared.here else rows.deferred(target, prepared.entry, repository)
    outcome = repository.publish(prepared)
    for note in outcome.notes:
        context.progress.warn(f"{target.name}: {note}")
    return rows.published(target, outcome, repository)


def _built(target: Target, context: Context) -> Result:
    """Build a prepared plan and publish it; one that fails stays pending, and the others still run."""
    repository, wanted = context.repository, target.options.plan_builder
    try:
        published, reasons = finish.build_one(target.name, repository, context.progress, wanted=wanted)
    except ModelRepoError as error:
        return rows.failed(target, error)
    if published is None:
        entry = PlanStore(repository).entries()[target.name]
        return rows.deferred(target, entry, repository, "; ".join(reasons))
    plans = published.manifest.provenance.plans
    built = tuple(f"built for {plan.gpu} by TensorRT {plan.tensorrt} ({plan.way})" for plan in plans)
    return rows.published(target, replace(published, notes=(*published.notes, *built, *reasons)), repository)


def _refuse_same_names(jobs: list[Job]) -> None:
    names = [name for job in jobs for name in job.published_names().values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise OptionError(
            f"two models would be published as {twice!r}",
            "Put {model}, {backend} and {precision} in --name-template",
        )


def _check_served_versions(target: Target, repository: Repository) -> None:
    """Refuse a list with a version that will not exist: Triton would serve none, or log an error."""
    there, coming = repository.versions(target.name), repository.next_version(target.name)
    absent = set(target.options.version_policy.versions) - there - {coming}
    if absent:
        raise OptionError(
            f"the version policy lists version {min(absent)} of {target.name}, which does not exist",
            f"Existing versions: {', '.join(map(str, sorted(there))) or 'none'}; the next will be {coming}",
        )
