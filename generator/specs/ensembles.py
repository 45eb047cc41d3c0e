"""Ensembles as users write them: `[ensembles.NAME]` of modelrepo.toml, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The seconds that a step may take for one request if its table does not say otherwise.
STEP_SECONDS = 60.0
# Between the name of an ensemble and that of its step, in the name of a model that is made for the step.
OWN = "__"


@dataclass(frozen=True)
class Step:
    """One step of an ensemble: a model, and the tensors that it takes and gives.

    ``use`` is the model: a published one as ``NAME`` or ``NAME@VERSION``, or ``SCHEME:…`` of what is made into a model
    for this step, such as ``onnx:FILE`` or ``python:MODULE:FUNCTION``.

    ``inputs`` has the tensor of the ensemble that each input of the model is: the output of a step (``STEP.OUTPUT``, or
    as ``outputs`` of that step name it), else an input of the ensemble. ``outputs`` names the tensors that the model's
    outputs become. What is not listed is found by its name.
    """

    name: str
    use: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()  # packages of a Python step, as pip reads them
    timeout: float = STEP_SECONDS  # seconds that it may take for one request
    settings: Mapping[str, Any] = field(default_factory=dict)  # keys of its scheme only: see options/ensembles.py

    @property
    def scheme(self) -> str:
        """The scheme of ``use``; empty for a published model."""
        scheme, colon, _ = self.use.partition(":")
        return scheme if colon else ""

    @property
    def rest(self) -> str:
        """What follows the scheme in ``use``; all of it for a published model."""
        return self.use.partition(":")[2] if self.scheme else self.use


@dataclass(frozen=True)
class EnsembleSpec:
    """An ensemble: its steps, and what clients send and receive.

    ``outputs`` has the tensors that clients receive, by the names that clients know; empty: those that no step takes.
    """

    name: str
    steps: tuple[Step, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)
    max_batch_size: int | None = None  # None: the smallest of its models
    samples: Path | None = None  # the user's inputs for the live check
    parallel: tuple[str, ...] = ()  # steps that all take what clients send, and whose answers the last step combines
    option: str = ""  # the option of `generate` that asks for it; empty: its table of modelrepo.toml

    @property
    def origin(self) -> str:
        """Where its configuration comes from, in words for the first line of that."""
        if self.option:
            return f"made for {self.option}: changes are lost when it is made again"
        return f"change it in [ensembles.{self.name}] of modelrepo.toml"

    def own_model(self, step: Step) -> str:
        """Return the name of the model that is made for a step."""
        return f"{self.name}{OWN}{step.name}"


@dataclass(frozen=True)
class Called:
    """A model that an ensemble calls: the folder that holds its versions, and its configuration."""

    name: str
    folder: Path
    config: str
    backend: str  # of Triton; "ensemble" for another ensemble
