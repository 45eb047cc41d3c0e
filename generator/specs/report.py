"""What a run of `generate` did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelrepo.generator.errors import ModelRepoError

if TYPE_CHECKING:
    pass
from modelrepo.generator.specs.findings import Optimization, Verification

Status = Literal["published", "unchanged", "deferred", "skipped", "failed"]


@dataclass(frozen=True)
class Result:
    """One row of the report: a model for a backend."""

    model: str
    backend: str
    name: str
    status: Status
    version: int | None = None
    path: Path | None = None
    max_batch_size: int | None = None
    verification: Verification = field(default_factory=Verification)
    next_step: str | None = None
    notes: tuple[str, ...] = ()
    failure: ModelRepoError | None = None
    client: Path | None = None
    precision: str = "fp32"
    optimization: Optimization = field(default_factory=Optimization)


@dataclass(frozen=True)
class Report:
    """What a run did: a result per model and backend, the seconds that each step took, and whether it was cut short."""

    repository: Path
    results: tuple[Result, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
