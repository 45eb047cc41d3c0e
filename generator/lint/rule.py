"""A rule: one thing that Triton decides, or that we advise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelrepo.generator.lint.finding import Problem, Severity
from modelrepo.generator.lint.subject import Case, Host, Repository

Check: TypeAlias = Callable[[Case], Iterator[Problem]]
RepositoryCheck: TypeAlias = Callable[[Repository, Host], Iterator[Problem]]
# Who decides: the core, which every server has; the backend, whichever it is, or one of them; another server of
# repositories; or we do, as advice.
Decider: TypeAlias = Literal[
    "core", "backend", "onnxruntime", "tensorrt", "openvino", "pytorch", "python", "dynamo", "kserve", "advice"
]
# Deciders whose rules are asked with `--profile` only.
PROFILES = ("dynamo", "kserve")


def nothing(*_: object) -> Iterator[Problem]:
    """Find nothing."""
    return iter(())


@dataclass(frozen=True)
class Rule:
    """One rule, with what its page says. It judges models with ``check``, or a repository as a whole."""

    code: str
    severity: Severity
    title: str  # the condition, in a few words
    triton: str  # what Triton does; its own words in quotes
    write: str  # what to write instead
    check: Check = nothing
    decided_by: Decider = "core"
    seen: str = ""  # the release on which it was tried; empty: it is read in the source
    source: str = ""  # the file of Triton's source that decides, if it was not tried
    needs_config: bool = True  # whether it judges only what has a configuration that can be parsed
    since: str = ""  # the first release (YY.MM) for which it holds; empty: all
    before: str = ""  # the first release for which it no longer holds; empty: none
    check_repository: RepositoryCheck = nothing
    fixable: bool = False  # whether a problem may come with edits that mend it

    def holds_for(self, release: str) -> bool:
        """Whether the rule holds for a release (YY.MM)."""
        return (not self.since or release >= self.since) and (not self.before or release < self.before)

    def judges(self, host: Host) -> bool:
        """Whether the rule is asked for a host: its release, and what else than Triton serves there."""
        asked = self.decided_by not in PROFILES or self.decided_by == host.profile
        return asked and self.holds_for(host.release.container)
