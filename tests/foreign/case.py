"""A test of another project as a model with inputs, and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator.specs.tensors import Array, Arrays

# What may become of a case. "absent": the checkout has no such test, or it makes no model with these versions.
OUTCOMES = ("right", "wrong", "rightly", "needless", "crash", "absent")


@dataclass(frozen=True)
class Task:
    """A case of the sample by its suite and name, and the folder of the suite's checkout."""

    suite: str
    name: str
    checkout: str

    @property
    def key(self) -> str:
        """The name that no other task has."""
        return f"{self.suite}/{self.name}"


@dataclass(frozen=True)
class Given:
    """A model that a test makes: the reference of `generate`, the test's own inputs, and the right answers to them.

    ``inputs`` are by the names of the published model's inputs, or in their order if ``named`` is false. ``expected``
    returns the right answer for each output, by its name, or in order where names are numbers.
    """

    reference: str
    inputs: Arrays
    expected: Callable[[Arrays, list[str]], Mapping[str, Array]]
    options: Mapping[str, Any] = field(default_factory=dict)
    named: bool = True
    samples: bool = True


@dataclass(frozen=True)
class Suite:
    """Tests of one project.

    ``given`` makes the model of a test in a folder; None if the test makes none. ``by_hand`` converts it as the test
    does and compares the answers; it returns the reason why that fails, or nothing. ``live``: a real Triton is asked,
    too, since what such tests are about is Triton.
    """

    title: str
    option: str
    about: str
    packages: tuple[str, ...]
    given: Callable[[Task, Path], Given | None]
    by_hand: Callable[[Task, Path], str]
    live: bool = False


@dataclass(frozen=True)
class Row:
    """What became of a case: one of OUTCOMES, the message of `generate`, and what the conversion by hand said."""

    key: str
    outcome: str
    reason: str = ""
    by_hand: str = ""
    # Whether generated inputs were refused, and the test's own ones were given as samples.
    samples: bool = False
    # Whether verification found that the converted model answers otherwise than its source.
    caught: bool = False
    seconds: float = 0.0
    commit: str = ""
    tools: str = ""
    date: str = ""
