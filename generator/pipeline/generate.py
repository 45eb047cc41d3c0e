"""The story of `generate`: load, export, verify, stage, publish."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modelrepo.generator import sources
from modelrepo.generator.configuration.writer import ConfigWriter
from modelrepo.generator.errors import ModelRepoError, OptionError, RepositoryError
from modelrepo.generator.optimize.variant import Variants
from modelrepo.generator.pipeline import rows, standing
from modelrepo.generator.pipeline.gate import Gate
from modelrepo.generator.pipeline.job import Job, Target, counted_again, targets_of
from modelrepo.generator.pipeline.proving import prove
from modelrepo.generator.pipeline.staging import PreparedPlan, config_plan, prepare
from modelrepo.generator.plans import finish
from modelrepo.generator.plans.status import spec_of
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.progress import Progress
from modelrepo.generator.rendered import client_code
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.report import Report, Result
from modelrepo.generator.tensorrt import ways
from modelrepo.generator.verification.proven import Proven


def generate(
    jobs: list[Job], repository: Path, progress: Progress, *, dry_run: bool = False, gate: Gate | None = None
) -> Report:
    """Generate every job's models; one that fails is a row of the report and keeps no other from its turn.

    What is staged must pass the ``gate`` before it is published. An interrupt ends the run, and the report still says
    what stands.
    """
    _refuse_same_names(jobs)
    destination = Repository(repository)
    results: list[Result] = []
    interrupted = False
    for job in jobs:
        done: list[Result] = []
        failure: ModelRepoError | None = None
        try:
            if not interrupted:
                for row in generate_model(job, destination, progress, dry_run=dry_run, gate=gate):
                    done.append(row if dry_run else _with_client(row, job.options, destination, progress))
        except ModelRepoError as error:
            failure = error
        except OSError as error:
            failure = RepositoryError(f"{error.strerror or error}: {error.filename or destination.root}")
        except KeyboardInterrupt:
            interrupted = True
        done += rows.unfinished(job, done, failure)
        by_name = {row.name: row for row in done}
        results += [by_name[name] for name in job.published_names().values()]
    return Report(destination.root, tuple(results), progress.total(), interrupted)


def generate_model(
    job: Job, repository: Repository, progress: Progress, *, dry_run: bool, gate: Gate | None
) -> Iterator[Result]:
    """Generate one model for each of its backends, and yield the row of each as soon as it is certain.

    Nothing is published before everything is proven and laid out; what Triton serves is published last.
    """
    missing: list[Target] = []
    prepared_before: list[Target] = []
    for target in targets_of(job):
        repository.preflight(target.name)
        _check_served_versions(job.options, target.name, repository)
        row = standing.find(target, job.options, repository, progress)
        if row is None and not dry_run:
            row = standing.reactivate(target, job.options, repository)
        plan = None if row else standing.pending(target, job.options, repository)
        if plan:
            way = ways.find(spec_of(plan), job.options.plan_builder, progress)
            row = rows.deferred(target, plan, repository, way.deferral) if way.kind == "deferred" else None
        if row:
            yield row
        else:
            (prepared_before if plan else missing).append(target)
    if dry_run:
        if missing:
            ConfigWriter(job.options.templates, job.options.config_patch)  # refuses what it can't read
            source, name = sources.find(job.options.model)
            source.check(name, job.options)
        yield from (rows.would_publish(target, repository) for target in (*prepared_before, *missing))
        return
    if missing:
        yield from _made(job, missing, repository, progress, gate)
    for target in prepared_before:
        yield _built(target, job.options, repository, progress)


def _made(
    job: Job, missing: list[Target], repository: Repository, progress: Progress, gate: Gate | None
) -> Iterator[Result]:
    """Make what is missing from the source on, and yield the row of each target as soon as it is certain."""
    writer = ConfigWriter(job.options.templates, job.options.config_patch)
    if gate:
        for target in missing:
            gate.expect(target.choice.backend, job.options)
    source, name = sources.find(job.options.model)
    here = source.files(name)
    with repository.staging() as staging:
        proven = prove(job, staging / "onnx", progress)
        if not here:
            missing = counted_again(job, missing)
        for target in missing:
            config_plan(target, job.options, proven)  # refuses profiles that do not fit, before minutes of lowering
        variants = Variants(proven, job.options, staging / "variants", progress)
        ready = []
        for target in missing:
            wanted = variants.made(target.choice)
            prepared = prepare(target, job.options, wanted, writer, repository, staging, progress)
            ready.append((target, _passed(prepared, wanted, job.options, gate, progress)))
        with progress.step("publish", f"publishing in {repository.root}"), repository.locked():
            for target, prepared in sorted(ready, key=lambda pair: isinstance(pair[1], StagedModel)):
                row = _publish(target, prepared, repository, progress)
                if row:
                    yield row
    for target, prepared in ready:
        if isinstance(prepared, PreparedPlan) and prepared.here:
            yield _built(target, job.options, repository, progress)


def _passed(
    prepared: StagedModel | PreparedPlan, proven: Proven, options: Options, gate: Gate | None, progress: Progress
) -> StagedModel | PreparedPlan:
    """Return a staged model with what the gate found; a plan that is built elsewhere is not here to be checked."""
    if gate is None or isinstance(prepared, PreparedPlan):
        return prepared
    live = gate.check(prepared, proven, options)
    for note in (f"no live check: {live.detail}",) if live.status == "skipped" else live.notes:
        progress.warn(f"{prepared.name}: {note}")
    verification = replace(prepared.provenance.verification, live=live)
    return replace(prepared, provenance=replace(prepared.provenance, verification=verification))


def _with_client(row: Result, options: Options, repository: Repository, progress: Progress) -> Result:
    """Write the Python client of a served version, and return its row with the client's path."""
    newest = repository.newest(row.name) if row.status in ("published", "unchanged") else None
    if newest is None or options.client_dir is None:
        return row
    path = options.client_dir / client_code.module_name(row.name)
    if row.status == "published" or not path.exists():
        try:
            client_code.write(newest, options.client_dir)
        except OptionError as error:  # the version is published all the same
            progress.warn(str(error))
            return replace(row, notes=(*row.notes, str(error)))
    return replace(row, client=path)


def _publish(
    target: Target, prepared: StagedModel | PreparedPlan, repository: Repository, progress: Progress
) -> Result | None:
    """Publish a staged model, or keep what a plan is made of; None for a plan that is built here next."""
    if isinstance(prepared, PreparedPlan):
        PlanStore(repository).defer(target.name, prepared.folder, prepared.entry)
        return None if prepared.here else rows.deferred(target, prepared.entry, repository)
    outcome = repository.publish(prepared)
    for note in outcome.notes:
        progress.warn(f"{target.name}: {note}")
    return rows.published(target, outcome, repository)


def _built(target: Target, options: Options, repository: Repository, progress: Progress) -> Result:
    """Build a plan that was prepared, and publish it; one that fails stays pending, and keeps none from its turn."""
    try:
        published, reasons = finish.build_one(target.name, repository, progress, wanted=options.plan_builder)
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
            "Tell them apart: put {model}, {backend} and {precision} in --name-template",
        )


def _check_served_versions(options: Options, name: str, repository: Repository) -> None:
    """Refuse to list a version that will not stand in the repository: Triton would serve none, or log an error."""
    there, coming = repository.versions(name), repository.next_version(name)
    absent = set(options.version_policy.versions) - there - {coming}
    if absent:
        raise OptionError(
            f"the version policy lists version {min(absent)} of {name}, which is not there",
            f"There are {', '.join(map(str, sorted(there))) or 'none'}, and the next will be {coming}",
        )
