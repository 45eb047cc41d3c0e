"""A check that a staged model must pass before it is published; the caller hands it to the pipeline."""

from collections.abc import Callable, Sequence
from typing import Protocol

from modelrepo.clients import Client
from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.ensembles import Called
from modelrepo.generator.specs.findings import Live
from modelrepo.generator.specs.options import Options
from modelrepo.generator.verification.proven import Proven


class Gate(Protocol):
    """A check of staged models."""

    def expect(self, backend: Backend, options: Options) -> None:
        """Prepare for a model that will be checked, such as by starting a server."""

    def check(self, staged: StagedModel, proven: Proven, options: Options) -> Live:
        """Return the findings; VerificationError if the model must not be published."""

    def check_ensemble(
        self,
        staged: StagedModel,
        proven: Proven,
        options: Options,
        called: Sequence[Called],
        fault: Callable[[Client], str],
    ) -> Live:
        """Return the findings of a staged ensemble, served with the models that it calls, members first.

        VerificationError if it must not be published; ``fault`` finds which of its steps fails or answers wrongly.
        """

    def ask_again(self, repository: Repository, name: str) -> Live:
        """Return the findings of a published model as it stands; VerificationError if its answers are wrong."""
