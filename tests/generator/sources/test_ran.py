"""What ran of a model's own Python: lines, and the sides of branches on tensors."""

from pathlib import Path

import numpy as np
import pytest

from modelrepo.generator import sources
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress

CODE = '''from typing import Annotated

from torch import nn


class Guard(nn.Module):
    def forward(self, x):
        """Scale pictures of 0 to 255."""
        if (x > 100).any():
            x = x / 255
        if len(x) > 1:
            return x
        return x * 2


def make() -> Annotated[nn.Module, "x=1x4"]:
    return Guard()
'''


def test_lines_and_sides_of_branches_are_recorded(workdir: Path) -> None:
    (workdir / "net.py").write_text(CODE)
    _, options = resolve({"model": "python:net:make"}, ConfigFile(), "python:net:make")
    source = sources.SOURCES["python"].load("net:make", options, Progress())
    assert source.watched
    first = source.watched(lambda: source.run({"x": np.ones((1, 4), np.float32)}))
    assert [place.line for place in first.missed] == [10, 12]
    assert [(branch.place.line, branch.sides) for branch in first.branches] == [(9, {False})]
    both = first | source.watched(lambda: source.run({"x": np.full((2, 4), 200, np.float32)}))
    assert both.missed == ()
    assert [(branch.place.line, branch.sides) for branch in both.branches] == [(9, {False, True})]


def test_an_error_of_the_call_is_raised_on(workdir: Path) -> None:
    (workdir / "net.py").write_text(CODE)
    _, options = resolve({"model": "python:net:make"}, ConfigFile(), "python:net:make")
    source = sources.SOURCES["python"].load("net:make", options, Progress())
    assert source.watched
    with pytest.raises(ZeroDivisionError):
        source.watched(lambda: 1 / 0)
