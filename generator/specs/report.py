"""The outcome of a run of `generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.specs.findings import Optimization, Verification

Status = Literal["published", "unchanged", "deferred", "skipped", "failed"]


@dataclass(frozen=True)
class Result:
    """One row of the report: a model for a backend."""

    model: str  # as the user names the source
    backend: str
    name: str  # the published name
    status: Status
    version: int | None = None
    path: Path | None = None  # of the version folder
    max_batch_size: int | None = None
    verification: Verification = field(default_factory=Verification)
    next_step: str | None = None
    notes: tuple[str, ...] = ()
    failure: ModelRepoError | None = None
    client: Path | None = None  # the generated Python client
    precision: str = "fp32"
    optimization: Optimization = field(default_factory=Optimization)


@dataclass(frozen=True)
class Report:
    """A result for each model and backend of a run."""

    repository: Path
    results: tuple[Result, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)  # by kind of step
    interrupted: bool = False
