"""The versions of a model that Triton loads, by its version policy."""

from collections.abc import Iterable
from typing import Any

from modelrepo.generator.lint.subject import Model


def selected(model: Model, config: Any) -> tuple[int, ...]:
    """Return the numbers of the versions that a server loads of those that are there, in ascending order."""
    return among(model.versions, config)


def among(there: Iterable[int], config: Any) -> tuple[int, ...]:
    """Return the numbers that a configuration's policy selects of some versions, in ascending order."""
    policy, ordered = config.version_policy, sorted(there)
    if policy.HasField("specific"):
        return tuple(sorted(_specific(policy.specific.versions, ordered)))
    if not config.HasField("version_policy"):
        return tuple(ordered[-1:])
    if policy.HasField("latest"):
        newest = policy.latest.num_versions
        return tuple(ordered[-newest:]) if newest else ()
    return tuple(ordered)  # a policy that names no choice loads all


def _specific(asked: Iterable[int], there: list[int]) -> set[int]:
    """Return the asked versions that are loaded: one that is asked for twice too, if it is there or not."""
    seen, loaded = set(there), set()
    for number in asked:
        if number in seen:
            loaded.add(number)
        seen.add(number)
    return loaded
