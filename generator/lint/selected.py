"""The versions of a model that Triton loads, by its version policy."""

from collections.abc import Iterable
from typing import Any

from modelrepo.generator.lint.subject import Model


def selected(model: Model, config: Any) -> tuple[int, ...]:
    """Return the numbers of the versions that a server loads of those that are there, in ascending order."""
    policy, there = config.version_policy, sorted(model.versions)
    if policy.HasField("specific"):
        return tuple(sorted(_specific(policy.specific.versions, there)))
    if not config.HasField("version_policy"):
        return tuple(there[-1:])
    if policy.HasField("latest"):
        newest = policy.latest.num_versions
        return tuple(there[-newest:]) if newest else ()
    return tuple(there)  # a policy that names no choice loads all


def _specific(asked: Iterable[int], there: list[int]) -> set[int]:
    """Return the asked versions that are loaded: one that is asked for twice too, if it is there or not."""
    seen, loaded = set(there), set()
    for number in asked:
        if number in seen:
            loaded.add(number)
        seen.add(number)
    return loaded
