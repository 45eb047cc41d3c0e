"""A model of which the linter and the real server must say the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A model folder, and the errors that must be found in it; without any, Triton serves the model."""

    name: str
    config: str | None
    files: Mapping[str, bytes | str] = field(default_factory=dict)  # by path, relative to the model folder
    versions: tuple[str, ...] = ("1",)
    errors: tuple[str, ...] = ()  # codes that must be found as errors
    alone: bool = False  # kills the server
    others: Mapping[str, "Case"] = field(default_factory=dict)  # further models of the same repository
