"""What a server will refuse, found by `check`'s rules before it starts."""

from collections.abc import Sequence
from pathlib import Path

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint import Finding, Host, check
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.triton.releases import NEWEST, release_named
from modelrepo.server.running.spec import ServerSpec

# The release whose core serves on this machine: Triton 2.51. Its backends are of the newest release that is known.
LOCAL_RELEASE = "24.10"
# The next step for what is right elsewhere, and can't be served on this machine.
STEPS = {"IG-GPU": "It is for a host with a GPU; --cpu-overlay serves it here"}


def refusals(spec: ServerSpec) -> list[Finding]:
    """Return the errors that a server will find in the models that it is to load, in the order of places."""
    if spec.repository is None or (spec.control == "explicit" and not spec.models):
        return []
    there = [spec.repository / name for name in spec.models if (spec.repository / name).is_dir()]
    paths = there if spec.models else [spec.repository]
    return sorted(
        (each for each in _judged(spec, paths) if each.severity == "error"), key=lambda each: each.problem.place
    )


def refuse_refused(spec: ServerSpec) -> None:
    """Raise RepositoryError if a server will refuse a model: the first finding, and the command that shows all."""
    found = refusals(spec)
    if found:
        more = f"; `modelrepo check {spec.served}` shows all {len(found)} errors" if len(found) > 1 else ""
        first = f"can't serve {spec.served}: {told(found[0], spec)}"
        raise RepositoryError(first, f"{STEPS.get(found[0].code, found[0].problem.write)}{more}")


def told(finding: Finding, spec: ServerSpec) -> str:
    """Return an error as one line, with paths from the repository on: the place, the rule and what Triton does."""
    root = f"{spec.served}/"
    place = str(finding.problem.place).removeprefix(root)
    return f"{place}: {finding.code}: {finding.problem.says.replace(root, '')}"


def _judged(spec: ServerSpec, paths: Sequence[Path]) -> list[Finding]:
    if not paths:
        return []
    if spec.runtime == "docker":
        return check(paths, [Host(spec.release)])
    gpus = None if spec.cpu_overlay else 0
    core = [rule for rule in rules() if rule.decided_by == "core"]
    backends = [rule for rule in rules() if rule.decided_by != "core"]
    return [
        *check(paths, [Host(release_named(LOCAL_RELEASE), gpus)], core),
        *check(paths, [Host(release_named(NEWEST), gpus)], backends),
    ]
