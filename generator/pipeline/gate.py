"""What a staged model must pass before it is published, handed to the pipeline by whoever can check more."""

from typing import Protocol

from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.repository.repository import StagedModel
from modelrepo.generator.specs.findings import Live
from modelrepo.generator.specs.options import Options
from modelrepo.generator.verification.proven import Proven


class Gate(Protocol):
    """A check of staged models."""

    def expect(self, backend: Backend, options: Options) -> None:
        """Note that a model is on its way: what takes time to get ready may be begun."""

    def check(self, staged: StagedModel, proven: Proven, options: Options) -> Live:
        """Return what was found; VerificationError for a model that may not be published."""
