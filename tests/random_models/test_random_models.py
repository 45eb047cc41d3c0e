"""Some random models, and what becomes of those that answer wrongly."""

import numpy as np
import pytest

from modelrepo.generator.errors import InputRefused
from modelrepo.generator.specs.tensors import Array, Arrays
from tests.mutation.asked import wrong
from tests.random_models import sklearn_models, torch_models
from tests.random_models.__main__ import summary
from tests.random_models.trial import Row, Task, work

# Seeds of models that are quick to export: those of PyTorch are recorded by the older exporter.
QUICK = ("torch/9", "torch/27", "torch/30", "torch/33", "sklearn/4", "sklearn/5", "sklearn/6", "sklearn/7")


@pytest.mark.parametrize("key", QUICK)
def test_what_is_published_answers_as_its_source(key: str) -> None:
    kind, _, seed = key.partition("/")
    (row,) = work(Task(kind, int(seed)))
    assert row.outcome in ("right", "edge", "refused", "caught", "unfit"), f"{row.reason}\n{row.text}"


def test_a_seed_stands_for_one_model_and_another_for_another() -> None:
    assert torch_models.module(3) == torch_models.module(3) != torch_models.module(5)
    first, again, other = (sklearn_models.describe(seed).text for seed in (4, 4, 5))
    assert first == again != other


def floor(arrays: Arrays) -> dict[str, Array]:
    if (arrays["x"] > 90).any():
        raise InputRefused("too large")
    return {"y": np.floor(arrays["x"])}


def test_a_wrong_answer_is_steady_unless_the_source_itself_changes_with_rounding() -> None:
    def ceil(arrays: Arrays) -> dict[str, Array]:
        return {"y": np.ceil(arrays["x"] - np.float32(0.99999994))}

    def bad(arrays: Arrays) -> dict[str, Array]:
        return {"y": np.floor(arrays["x"]) + 1}

    at_an_edge = {"x": np.array([[2.0]], np.float32)}
    assert not list(wrong(floor, floor, at_an_edge))
    assert [each.steady for each in wrong(floor, bad, {"x": np.array([[2.5]], np.float32)})] == [True]
    assert not any(each.steady for each in wrong(floor, bad, at_an_edge))
    assert not list(wrong(floor, ceil, {"x": np.array([[2.5]], np.float32)}))


def test_rows_that_the_source_refuses_are_left_out() -> None:
    def bad(arrays: Arrays) -> dict[str, Array]:
        return {"y": np.where(arrays["x"] > 90, np.float32(7), np.floor(arrays["x"]))}

    rows = {"x": np.array([[1.5], [99.0], [-2.5]], np.float32)}
    assert not list(wrong(floor, bad, rows))


def test_the_summary_groups_wrong_models_by_the_line_that_made_them_wrong() -> None:
    text = "        v0 = x + 1\n        v1 = torch.frac(v0)\n        return v0, v1\n"
    rows = [Row(f"torch/{seed}", "wrong", "output_1: 2 instead of 3", (), text) for seed in (1, 2)]
    assert "  2 x torch.frac(_): torch/1, torch/2" in summary(rows)
    fitted = [Row("sklearn/1", "wrong", "label: 1", (), "model = make_pipeline(PCA(2), SVC(C=1)).fit(X, y)")]
    assert "  1 x PCA | SVC: sklearn/1" in summary(fitted)
