"""The rows of the report: what became of a model for a backend."""

from dataclasses import dataclass
from typing import Any

from generator.backends import BACKENDS
from generator.errors import ModelRepoError
from generator.options.fields import published_name
from generator.pipeline.content_key import ContentKey, content_key
from generator.repository.manifest import PendingPlan
from generator.repository.repository import Published, Repository
from generator.specs.tensors import Choice, Options, Result


@dataclass(frozen=True)
class Job:
    """One model to generate: its own name, and its options."""

    name: str
    options: Options

    def published_names(self) -> dict[Choice, str]:
        """Return the name that each choice's model is published under."""
        return {choice: published_name(self.name, self.options, choice) for choice in self.options.backends}


@dataclass(frozen=True)
class Target:
    """What one choice of a job is published as, and the key that tells whether it is there already."""

    model: str
    choice: Choice
    name: str
    key: ContentKey


def targets_of(job: Job) -> list[Target]:
    """Return a job's targets in the order of its backends."""
    return [
        Target(job.name, choice, name, content_key(name, choice, job.options))
        for choice, name in job.published_names().items()
    ]


def counted_again(job: Job, targets: list[Target]) -> list[Target]:
    """Return targets with the keys that they have once the source was loaded: it may have downloaded what counts."""
    names = {target.name for target in targets}
    return [target for target in targets_of(job) if target.name in names]


def published(target: Target, outcome: Published, repository: Repository) -> Result:
    """Return the row of a version that was published, or that stood already."""
    manifest = outcome.manifest
    return _row(
        target.model,
        target.choice,
        target.name,
        status=outcome.status,
        version=manifest.version,
        path=repository.root / target.name / str(manifest.version),
        max_batch_size=manifest.max_batch_size,
        verification=manifest.provenance.verification,
        optimization=manifest.provenance.optimization,
        notes=(*manifest.provenance.source.notes, *outcome.notes),
    )


def deferred(target: Target, plan: PendingPlan, repository: Repository, reason: str | None = None) -> Result:
    """Return the row of a plan that is to be built elsewhere, for a ``reason`` of now or that of its entry."""
    return _row(
        target.model,
        target.choice,
        target.name,
        status="deferred",
        path=repository.plan_folder(target.name),
        max_batch_size=plan.max_batch_size,
        optimization=plan.provenance.optimization,
        next_step=plan.command,
        notes=(reason or plan.reason,),
    )


def would_publish(target: Target, repository: Repository) -> Result:
    """Return the row of a dry run."""
    note = f"dry run: would be made as version {repository.next_version(target.name)}"
    return _row(target.model, target.choice, target.name, status="skipped", notes=(note,))


def failed(target: Target, failure: ModelRepoError) -> Result:
    """Return the row of a model that could not be made."""
    return _row(
        target.model, target.choice, target.name, status="failed", failure=failure, next_step=failure.hint or None
    )


def unfinished(job: Job, finished: list[Result], failure: ModelRepoError | None) -> list[Result]:
    """Return the rows of what a job did not come to: failed, or, without a failure, skipped by an interrupt."""
    done = {result.name for result in finished}
    return [
        _row(
            job.name,
            choice,
            name,
            status="failed" if failure else "skipped",
            failure=failure,
            next_step=(failure.hint or None) if failure else None,
            notes=() if failure else ("interrupted",),
        )
        for choice, name in job.published_names().items()
        if name not in done
    ]


def _row(model: str, choice: Choice, name: str, **values: Any) -> Result:
    return Result(model, BACKENDS[choice.backend].TRITON_NAME, name, precision=choice.precision, **values)
