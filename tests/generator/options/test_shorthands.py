"""Short tables of ensembles: members combined, a function that calls members, and a cascade stand for steps."""

from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.ensembles import read_ensemble
from modelrepo.generator.specs.ensembles import EnsembleSpec

FILE = Path("modelrepo.toml")


def read(**table: Any) -> EnsembleSpec:
    return read_ensemble("e", table, FILE)


def refusal(**table: Any) -> str:
    with pytest.raises(OptionError) as caught:
        read(**table)
    return caught.value.message


def test_members_become_steps_and_one_that_combines_them() -> None:
    spec = read(combine="weighted mean", members=["net.v1", "other@3"], weights=[1, 2.5], of="softmax")
    assert [(step.name, step.use) for step in spec.steps] == [
        ("net_v1", "net.v1"),
        ("other", "other@3"),
        ("combine", "combine:weighted mean"),
    ]
    assert spec.parallel == ("net_v1", "other")
    settings = {"members": ("net_v1", "other"), "weights": (1.0, 2.5), "of": "softmax", "combined": ()}
    assert spec.steps[-1].settings == settings


def test_a_function_may_combine_members() -> None:
    spec = read(combine="python:rules:median", members=["a", "b"], requirements=["scipy"])
    assert (spec.steps[-1].use, spec.steps[-1].requirements) == ("python:rules:median", ("scipy",))


def test_a_function_that_calls_members_is_one_step() -> None:
    spec = read(bls="python:rules:decide", members=["a", "b@2"], timeout=5, batched=True, max_batch_size=4)
    (step,) = spec.steps
    assert (step.name, step.use, step.timeout) == ("bls", "bls:rules:decide", 5.0)
    assert step.settings["members"] == ("a", "b@2")
    assert step.settings["batched"] is True
    assert (spec.parallel, spec.max_batch_size) == ((), 4)


def test_a_cascade_is_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.npz").touch()
    (step,) = read(cascade={"small": "a", "large": "b@2", "samples": "digits.npz", "keep_accuracy": 0.98}).steps
    assert (step.name, step.scheme) == ("cascade", "cascade")
    assert step.settings["samples"] == Path("digits.npz")
    assert (step.settings["small"], step.settings["large"], step.settings["sure"]) == ("a", "b@2", None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"combine": "mean"}, "no members"),
        ({"combine": "mean", "members": "a"}, "no members"),
        ({"combine": "mean", "members": ["a", "a@2"]}, "a is a member twice"),
        ({"combine": "mean", "members": ["a", "b"], "steps": []}, "combine and steps in [ensembles.e]"),
        ({"combine": "mean", "bls": "python:a:b", "members": ["a"]}, "combine and bls in [ensembles.e]"),
        ({"combine": "mean", "members": ["a", "b"], "of": "scores"}, "expected answers or softmax"),
        ({"combine": "weighted mean", "members": ["a", "b"], "weights": [1, "2"]}, "expected a list of numbers"),
        ({"bls": "rules:decide", "members": ["a"]}, "names no function"),
        ({"cascade": "a"}, "cascade = 'a'"),
        ({"cascade": {"small": "a", "large": "b", "sure": 1.5}}, "sure = 1.5: expected a number from 0 to 1"),
        ({"members": ["a", "b"]}, "no steps in [ensembles.e]"),
    ],
)
def test_tables_that_can_not_be_meant_are_refused(table: dict[str, Any], said: str) -> None:
    assert said in refusal(**table)
