"""A cascade of two models: they must fit each other, and its function sends each sample where it belongs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.ensembles import cascade_step
from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.triton.releases import NEWEST, release_named

CONFIG = """
name: "{name}"
max_batch_size: {batch}
input {{ name: "x" data_type: TYPE_FP32 dims: {features} }}
output {{ name: "{output}" data_type: {dtype} dims: 3 {labels} }}
"""
SHARES = np.array([[0.9, 0.1, 0], [0.4, 0.35, 0.25], [np.nan, 1, 0]], np.float32)


def site(tmp_path: Path) -> Site:
    made = tmp_path / "made"
    made.mkdir()
    spec = EnsembleSpec("e", (Step("cascade", "cascade:small"),))
    return Site(spec, Repository(tmp_path), release_named(NEWEST), made, Progress())


def member(tmp_path: Path, name: str, labels: str = "", **changes: Any) -> Member:
    values = {"batch": 8, "features": 3, "output": "y", "dtype": "TYPE_FP32", **changes}
    if labels:
        (tmp_path / name).mkdir()
        (tmp_path / name / "labels.txt").write_text("\n".join(labels.split()))
        values["labels"] = 'label_filename: "labels.txt"'
    text = CONFIG.format(name=name, **{"labels": "", **values})
    return Member(name, 1, pbtxt.parse(text, "a test"), answer)


def answer(arrays: Arrays) -> Mapping[str, Array]:
    return {"y": arrays["x"] + 0}


def refusal(tmp_path: Path, *models: Member, scores: str = "") -> str:
    with pytest.raises(OptionError) as caught:
        cascade_step.fitted(models, scores, site(tmp_path))
    return caught.value.message


def test_two_models_that_fit_are_a_cascade(tmp_path: Path) -> None:
    models = [member(tmp_path, "a", "cat dog owl"), member(tmp_path, "b", "cat dog owl", batch=2)]
    found = cascade_step.fitted(models, "", site(tmp_path))
    assert (found.scores.name, found.labels, found.notes) == ("y", ("cat", "dog", "owl"), ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 0}, "b has no batches"),
        ({"features": 4}, "a takes float32 x[batch, 3], and b takes float32 x[batch, 4]"),
        ({"dtype": "TYPE_FP16"}, "a answers float32 y[batch, 3], and b answers float16 y[batch, 3]"),
        ({"output": "z"}, "no output that a and b share is a score for each class"),
        ({"labels": "dog cat owl"}, "class 0 is 'cat' for a and 'dog' for b"),
    ],
)
def test_models_that_do_not_fit_are_refused_with_both_ends(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, member(tmp_path, "a", "cat dog owl"), member(tmp_path, "b", **changes))


@pytest.mark.parametrize("softmax", [False, True])
def test_each_sample_of_a_batch_goes_where_it_belongs(tmp_path: Path, softmax: bool) -> None:
    found = cascade_step.fitted([member(tmp_path, "a"), member(tmp_path, "b")], "", site(tmp_path))
    file = tmp_path / f"cascade_{softmax}.py"
    cascade_step.write(file, found, 0.5, softmax=softmax)
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    asked = []

    def call(model: str, /, **arrays: Array) -> dict[str, Array]:
        asked.append((model, len(arrays["x"])))
        return {"y": arrays["x"] if model == "small" else np.full_like(arrays["x"], 7)}

    (got,) = space["cascade"](call, np.log(SHARES + 1e-9) if softmax else SHARES)
    assert asked == [("small", 3), ("large", 2)]
    assert [row.tolist() == [7, 7, 7] for row in got] == [False, True, True]


def test_the_large_model_is_not_asked_about_sure_samples(tmp_path: Path) -> None:
    found = cascade_step.fitted([member(tmp_path, "a"), member(tmp_path, "b")], "", site(tmp_path))
    file = tmp_path / "cascade.py"
    cascade_step.write(file, found, 0.5, softmax=False)
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)

    def call(model: str, /, **arrays: Array) -> dict[str, Array]:
        assert model == "small"
        return {"y": arrays["x"]}

    space["cascade"](call, SHARES[:1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"small": "a"}, "step 'cascade': the cascade has no large model"),
        ({"large": "a"}, "step 'cascade': the cascade has no small model"),
        ({"small": "a", "large": "b", "sure": 0.9, "keep_accuracy": 0.9}, "both sure and keep_accuracy"),
    ],
)
def test_settings_that_lack_or_contradict_something_are_refused(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    keys = dict.fromkeys(("small", "large", "sure", "keep_accuracy"))
    with pytest.raises(OptionError) as caught:
        cascade_step.member(Step("cascade", "cascade:", settings={**keys, **settings}), site(tmp_path))
    assert said in caught.value.message
