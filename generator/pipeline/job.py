"""One model to generate, and what each of its backends is published as."""

from dataclasses import dataclass

from modelrepo.generator.options.names import published_name
from modelrepo.generator.pipeline.content_key import ContentKey, content_key
from modelrepo.generator.specs.options import Choice, Options


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
