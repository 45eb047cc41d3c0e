"""Parallel members: all take what clients send, and clients receive the combined answers only."""

from types import SimpleNamespace
from typing import Any

import pytest

from modelrepo.generator.ensembles.combine_step import completed
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.triton import pbtxt

MEMBERS = ("a", "b")


def model(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    tensor = '{ name: "%s" data_type: TYPE_FP32 dims: 3 }'
    text = [f"input {tensor % name}" for name in inputs] + [f"output {tensor % name}" for name in outputs]
    return SimpleNamespace(config=pbtxt.parse("\n".join(text), "a test"))


def ensemble(last: str) -> EnsembleSpec:
    steps = (*(Step(name, name) for name in MEMBERS), Step("combine", last))
    return EnsembleSpec("e", steps, parallel=MEMBERS)


def test_members_share_their_inputs_and_only_combined_answers_are_given() -> None:
    member, combine = model(("x",), ("label", "y")), model(("a.y", "b.y"), ("y",))
    found = completed(ensemble("combine:mean"), {"a": member, "b": member, "combine": combine})
    assert [dict(step.inputs) for step in found.steps] == [{"x": "x"}, {"x": "x"}, {}]
    assert found.outputs == {"y": "combine.y"}


def test_a_function_takes_the_answers_in_the_order_of_the_members() -> None:
    member, combine = model(("x",), ("y", "z")), model(("p", "q", "r", "s"), ("best",))
    found = completed(ensemble("python:rules:best"), {"a": member, "b": member, "combine": combine})
    assert found.steps[-1].inputs == {"p": "a.y", "q": "a.z", "r": "b.y", "s": "b.z"}


def test_a_function_that_takes_another_number_of_answers_is_refused() -> None:
    member, combine = model(("x",), ("y",)), model(("p", "q", "r"), ("best",))
    with pytest.raises(OptionError, match=r"takes 3 arrays \(p, q, r\), and the members give 2 \(a.y, b.y\)"):
        completed(ensemble("python:rules:best"), {"a": member, "b": member, "combine": combine})


def test_an_ensemble_of_steps_stays_as_it_is() -> None:
    spec = EnsembleSpec("e", (Step("a", "a"),))
    assert completed(spec, {}) is spec
