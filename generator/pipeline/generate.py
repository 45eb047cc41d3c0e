"""The story of `generate`: load, export, verify, stage, publish."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from modelrepo.generator import sources
from modelrepo.generator.configuration.writer import ConfigWriter
from modelrepo.generator.errors import ModelRepoError, OptionError
from modelrepo.generator.pipeline import beforehand, changes, clients, existing, failures, rows
from modelrepo.generator.pipeline.gate import Gate
from modelrepo.generator.pipeline.job import Context, Job, Target, counted_again, targets_of
from modelrepo.generator.pipeline.models import Models
from modelrepo.generator.pipeline.staging import PreparedPlan, decided, prepare, remembering
from modelrepo.generator.plans import finish
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.options import Options, RunOptions
from modelrepo.generator.specs.report import Report, Result
from modelrepo.generator.verification.proven import Proven

Prepared: TypeAlias = StagedModel | PreparedPlan
T = TypeVar("T")


def generate(
    jobs: list[Job], run: RunOptions, progress: Progress, *, dry_run: bool = False, gate: Gate | None = None
) -> Report:
    """Generate every job's models; one that fails becomes a row of the report, and the others still run.

    That holds for unexpected exceptions, too. Staged models must pass the ``gate`` before they are published. An
    interrupt ends the run; the report then lists what was done before.
    """
    _refuse_same_names(jobs)
    context = Context(Repository(run.repository), run, progress, gate, dry_run)
    if not dry_run:
        context.repository.recover()
    results: list[Result] = []
    interrupted = False
    for job in jobs:
        done: list[Result] = []
        failure: ModelRepoError | None = None
        try:
            if not interrupted:
                for row in generate_model(job, context):
                    if row.failure and len(job.options.backends) > 1:
                        progress.show(f"{row.name} failed; the reason is below the report")
                    done.append(row)
                    done[-1] = row if dry_run else clients.written(row, context)
        except KeyboardInterrupt:
            interrupted = True
        except failures.KINDS as error:
            failure = failures.of(error, job.name, context.repository.root)
        done += rows.unfinished(job, done, failure)
        by_name = {row.name: row for row in done}
        results += [by_name[name] for name in job.published_names().values()]
    return Report(context.repository.root, tuple(results), progress.total(), interrupted)


def generate_model(job: Job, context: Context) -> Iterator[Result]:
    """Generate one model for each of its backends, and yield the row of each as soon as it is certain.

    Each backend stands for itself: one that fails is a row, and the others are published. If all or nothing is wanted,
    nothing is published before everything is proven and laid out; the models that Triton serves are published last.
    """
    missing: list[Target] = []
    prepared_before: list[Target] = []
    failed: list[Result] = []
    for target in targets_of(job):
        found = _attempted(target, context, partial(existing.find, target, context))
        if isinstance(found, Result):
            failed += [found] if found.failure else []
            yield found
        else:
            (prepared_before if found else missing).append(target)
    if failed and context.run.all_or_nothing:
        yield from (rows.held_back(each, failed[0]) for each in (*prepared_before, *missing))
        return
    if context.dry_run:
        if missing:
            _refuse_unreadable(job)
        yield from (rows.would_publish(target, context.repository) for target in (*prepared_before, *missing))
        return
    if missing:
        yield from _made(job, missing, context)
    for target in prepared_before:
        yield _attempted(target, context, partial(_built, target, context))


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
    writer = ConfigWriter(job.options.templates, job.options.config_patch)
    beforehand.check_data(job.options)
    if context.gate:
        for target in missing:
            context.gate.expect(target.backend, job.options)
    source, name = sources.find(job.options.model)
    here = source.files(name)
    built_next: dict[str, Target] = {}
    with context.repository.staging() as staging:
        models = Models(job, staging, context)
        if not here:
            missing = counted_again(job, missing)
        # Wrong profiles are refused here, before minutes of lowering.
        fitting, failed = _each(missing, context, lambda target: decided(target, models.proven(target)))
        yield from failed
        targets = [target for target, _ in fitting]
        for group in [targets] if context.run.all_or_nothing else [[target] for target in targets]:
            laid_out, failed = _each(group, context, lambda target: _laid_out(target, models, writer, context))
            yield from failed
            built_next |= {target.name: target for target, each in laid_out if _is_built_here(each)}
            for row in _published(laid_out, context):
                built_next.pop(row.name, None)  # it could not be kept
                yield row
    for target in built_next.values():
        yield _attempted(target, context, partial(_built, target, context))


def _each(
    targets: list[Target], context: Context, make: Callable[[Target], T]
) -> tuple[list[tuple[Target, T]], list[Result]]:
    """Make something for each target; return it, and the rows of those that failed: of all, if all or nothing."""
    done: list[tuple[Target, T]] = []
    failed: list[Result] = []
    for target in targets:
        made = _attempted(target, context, partial(make, target))
        if not isinstance(made, Result):
            done.append((target, made))
            continue
        failed.append(made)
        if context.run.all_or_nothing:
            return [], [made if each is target else rows.held_back(each, made) for each in targets]
    return done, failed


def _laid_out(target: Target, models: Models, writer: ConfigWriter, context: Context) -> Prepared:
    """Lay out the model that a target serves; what Triton will serve has passed the gate."""
    proven = models.served(target)
    prepared = prepare(target, proven, writer, models.folder, context)
    if isinstance(prepared, PreparedPlan):
        return prepared
    return remembering(_passed(prepared, proven, target.options, context), target, proven, context)


def _passed(staged: StagedModel, proven: Proven, options: Options, context: Context) -> StagedModel:
    """Return a staged model with the findings of the gate; a plan is checked where it is built."""
    if context.gate is None:
        return staged
    live = context.gate.check(staged, proven, options)
    for note in (f"no live check: {live.detail}",) if live.status == "skipped" else live.notes:
        context.progress.warn(f"{staged.name}: {note}")
    verification = replace(staged.provenance.verification, live=live)
    return replace(staged, provenance=replace(staged.provenance, verification=verification))


def _is_built_here(prepared: Prepared) -> bool:
    return isinstance(prepared, PreparedPlan) and prepared.here


def _attempted(target: Target, context: Context, make: Callable[[], T]) -> T | Result:
    """Return what ``make`` returns, or the row of its failure: a backend that fails leaves the others alone."""
    try:
        return make()
    except failures.KINDS as error:
        return rows.failed(target, failures.of(error, target.name, context.repository.root))


def _published(prepared: list[tuple[Target, Prepared]], context: Context) -> Iterator[Result]:
    """Publish what was laid out, and yield its rows; models that Triton serves come last.

    A plan that is built here next has no row yet. If all or nothing is wanted, nothing follows a failure.
    """
    if not prepared:
        return
    ordered = sorted(prepared, key=lambda pair: isinstance(pair[1], StagedModel))
    failed: Result | None = None
    with (
        context.progress.step("publish", f"publishing in {context.repository.root}"),
        context.repository.locked(),
    ):
        for target, each in ordered:
            if failed and context.run.all_or_nothing:
                yield rows.held_back(target, failed)
                continue
            row = _attempted(target, context, partial(_publish, target, each, context))
            failed = row if row and row.failure else failed
            if row:
                yield row


def _publish(target: Target, prepared: StagedModel | PreparedPlan, context: Context) -> Result | None:
    """Publish a staged model, or keep a prepared plan; None for a plan that is built here next."""
    repository = context.repository
    if isinstance(prepared, PreparedPlan):
        PlanStore(repository).defer(target.name, prepared.folder, prepared.entry)
        return None if prepared.here else rows.deferred(target, prepared.entry, repository)
    before, chosen = repository.newest(target.name), repository.choice(target.name)
    outcome = repository.publish(prepared)
    notes = (*outcome.notes, existing.under_former_name(target, outcome.manifest, repository))
    if outcome.status == "published" and before:
        notes = (*notes, *changes.since(before, outcome.manifest))
        notes = (*notes, f"version {outcome.manifest.version} is served now; before, {chosen}" if chosen else "")
    else:
        notes = (*notes, existing.chosen_otherwise(outcome.manifest, repository))
        existing.judge_edits(outcome.manifest, target, context)
    outcome = replace(outcome, notes=tuple(filter(None, notes)))
    for note in outcome.notes:
        context.progress.warn(f"{target.name}: {note}")
    return rows.published(target, outcome, repository)


def _built(target: Target, context: Context) -> Result:
    """Build a prepared plan and publish it; one that fails stays pending."""
    repository, wanted = context.repository, target.options.plan_builder
    published, reasons = finish.build_one(target.name, repository, context.progress, wanted=wanted)
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
