"""What ran of the user's own Python, in the coverage of `generate`."""

from pathlib import Path

import pytest

from tests.conftest import QUICK_EXPORT, Generate

GUARD = """from typing import Annotated
import torch
from torch import nn


class Guard(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x > 100).any()):
            x = x / 255
        if bool(x.sum() == 123456.5):
            x = x + 1
        return x * 2


def make() -> Annotated[nn.Module, "x=1x4"]:
    return Guard()
"""


@pytest.fixture(name="missing")
def _missing(generate: Generate, workdir: Path) -> list[str]:
    """Publish a model with two branches on values, and return what no input reached."""
    Path("guard.py").write_text(GUARD)
    outcome = generate("--model", "python:guard:make", *QUICK_EXPORT, "--json", "-q", "--client-dir", "none")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 0  # one bright picture in a batch changes all others
    found: list[str] = outcome.result["verification"]["coverage"]["missing"]
    return found


def test_a_side_that_no_input_took_and_its_lines_are_named(missing: list[str]) -> None:
    assert "guard.py:10: never true" in missing
    assert "guard.py:11: never ran" in missing


def test_sides_that_the_search_reached_are_not_missing(missing: list[str]) -> None:
    assert not any("guard.py:8" in each or "guard.py:9" in each for each in missing)
