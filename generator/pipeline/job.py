"""One model to generate, and what each of its backends is published as."""

from dataclasses import dataclass

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.options.names import published_name
from modelrepo.generator.pipeline.content_key import ContentKey, content_key
from modelrepo.generator.pipeline.gate import Gate
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.options import Choice, Options, RunOptions


@dataclass(frozen=True)
class Context:
    """What all models of a run share."""

    repository: Repository
    run: RunOptions
    progress: Progress
    gate: Gate | None = None  # what is staged must pass it before it is published
    dry_run: bool = False


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
    """One choice of a job, which becomes one published model."""

    model: str  # the job's own name
    choice: Choice
    name: str  # that it is published under
    options: Options
    key: ContentKey  # decides whether it stands in the repository already

    @property
    def backend(self) -> Backend:
        """The row of its backend."""
        return BACKENDS[self.choice.backend]


def targets_of(job: Job) -> list[Target]:
    """Return a job's targets in the order of its backends."""
    return [
        Target(job.name, choice, name, job.options, content_key(name, choice, job.options))
        for choice, name in job.published_names().items()
    ]


def counted_again(job: Job, targets: list[Target]) -> list[Target]:
    """Return targets with their keys after the source was loaded: it may have downloaded files that count."""
    names = {target.name for target in targets}
    return [target for target in targets_of(job) if target.name in names]
