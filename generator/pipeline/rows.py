"""The rows of the report: the outcome of a model for a backend."""

from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.pipeline.job import Job, Target
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.repository import Published, Repository
from modelrepo.generator.specs.report import Result


def published(target: Target, outcome: Published, repository: Repository) -> Result:
    """Return the row of a version that was published now or before."""
    manifest = outcome.manifest
    return _row(
        target,
        status=outcome.status,
        version=manifest.version,
        path=repository.root / target.name / str(manifest.version),
        max_batch_size=manifest.max_batch_size,
        verification=manifest.provenance.verification,
        optimization=manifest.provenance.optimization,
        notes=(*manifest.provenance.source.notes, *outcome.notes),
    )


def deferred(target: Target, plan: PendingPlan, repository: Repository, reason: str | None = None) -> Result:
    """Return the row of a plan to build elsewhere; the ``reason`` is that of its entry unless there is a newer one."""
    return _row(
        target,
        status="deferred",
        path=PlanStore(repository).folder(target.name),
        max_batch_size=plan.max_batch_size,
        optimization=plan.provenance.optimization,
        next_step=plan.command,
        notes=(reason or plan.reason,),
    )


def would_publish(target: Target, repository: Repository) -> Result:
    """Return the row of a dry run."""
    note = f"dry run: would be made as version {repository.next_version(target.name)}"
    return _row(target, status="skipped", notes=(note,))


def failed(target: Target, failure: ModelRepoError) -> Result:
    """Return the row of a model that failed."""
    return _row(target, status="failed", failure=failure, next_step=failure.hint or None)


def held_back(target: Target, failed: Result) -> Result:
    """Return the row of a model that is not published because another of the same run was not."""
    return _row(target, status="skipped", notes=(f"not published: {failed.name} failed (--all-or-nothing)",))


def unfinished(job: Job, finished: list[Result], failure: ModelRepoError | None) -> list[Result]:
    """Return the rows of a job's unfinished models: failed, or skipped by an interrupt if nothing failed."""
    done = {result.name for result in finished}
    return [
        Result(
            job.name,
            BACKENDS[choice.backend].triton_name,
            name,
            precision=choice.precision,
            status="failed" if failure else "skipped",
            failure=failure,
            next_step=(failure.hint or None) if failure else None,
            notes=() if failure else ("interrupted",),
        )
        for choice, name in job.published_names().items()
        if name not in done
    ]


def _row(target: Target, **values: Any) -> Result:
    return Result(target.model, target.backend.triton_name, target.name, precision=target.choice.precision, **values)
