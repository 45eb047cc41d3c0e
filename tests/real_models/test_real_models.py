"""The page of models with trained weights is whole, and is the one that its rows give; the run goes on where it was."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.real_models import __main__ as command
from tests.real_models import page
from tests.real_models.models import MODELS, Asked, Model
from tests.real_models.packages import PACKAGES
from tests.real_models.trial import FULL, LITTLE, Row, Task, answers_right, cosine, difference, options_of


def test_the_page_that_is_kept_has_a_row_for_every_model_and_is_made_from_the_csv_file() -> None:
    rows = page.read(page.ROWS)
    assert {key for key, precision in rows if precision == FULL} == {model.key for model in MODELS}
    published = [model for model in MODELS if rows[model.key, FULL].outcome == "published"]
    assert {(model.key, each) for model in published for each in model.lower} <= rows.keys()
    assert page.table(MODELS, rows) == page.ROWS.read_text("utf-8")
    assert page.page(MODELS, rows) == page.PAGE.read_text("utf-8")
    assert all(map(answers_right, rows.values()))


def test_every_model_is_of_a_package_with_a_licence() -> None:
    assert {model.package for model in MODELS} == {*PACKAGES}
    assert all(package.licence for package in PACKAGES.values())
    assert len({model.key for model in MODELS}) == len(MODELS)


def test_lower_precisions_are_calibrated_with_real_inputs() -> None:
    model = MODELS[0]
    assert options_of(model, FULL) == {}
    assert options_of(model, "int8") == {"precision": "int8", "verify_effort": "quick", "calibration": "{requests}"}


def test_a_difference_is_a_share_of_the_largest_magnitude_or_of_unequal_labels() -> None:
    wanted = [
        {"y": np.array([1.0, -4.0]), "label": np.array(["a", "b"])},
        {"y": np.zeros(2), "label": np.array(["a", "b"])},
    ]
    got = [{**each, "y": each["y"] + 0.2} for each in wanted]
    assert difference(wanted, got) == pytest.approx(0.05)
    got = [{**each, "label": np.array([[b"a"], [b"c"]], object)} for each in wanted]
    assert difference(wanted, got) == 0.5
    assert difference(wanted, [{**each, "y": np.zeros(3)} for each in wanted]) == float("inf")


def test_the_cosine_is_the_smallest_and_answers_near_zero_have_none() -> None:
    wanted = [{"y": np.array([1.0, 0.0])}, {"y": np.array([0.0, 0.1 * LITTLE])}]
    assert cosine(wanted, wanted) == 1
    assert cosine(wanted, [wanted[0], {"y": np.array([1.0, 0.0])}]) == 1
    assert cosine(wanted, [{"y": np.array([1.0, 1.0])}, wanted[1]]) == pytest.approx(0.5**0.5)
    assert cosine([{"y": np.ones(1)}], [{"y": np.ones(1)}]) is None


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the command have three models, of which the last is interrupted once; return those that were run."""
    done: list[str] = []
    models = tuple(
        Model("magika", name, f"onnx:{{folder}}/{name}.onnx", lambda *_: Asked(()), lower=()) for name in "abc"
    )

    def pretend(groups: Sequence[Sequence[Task]], *_: Any) -> Iterator[tuple[Task, Any]]:
        for (task,) in groups:
            if task.key.endswith("c") and "magika/c" not in done:
                done.append(task.key)
                raise KeyboardInterrupt
            done.append(task.key)
            refused = task.key.endswith("b")
            yield task, Row(task.key, FULL, "refused" if refused else "published", "no luck" * refused, difference=1e-7)

    for module in (command, page):
        monkeypatch.setattr(module, "MODELS", models)
    monkeypatch.setattr(command, "STATE", tmp_path / "rows.jsonl")
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "ROWS", tmp_path / "page.csv")
    monkeypatch.setattr(command, "run", pretend)
    return done


def real_models(*arguments: str) -> Any:
    return CliRunner().invoke(command.main, arguments)


def test_an_interrupted_run_goes_on_where_it_was(ran: list[str]) -> None:
    assert real_models().exit_code == 130
    assert not command.PAGE.exists()
    assert real_models().output.endswith("2 published, 1 refused, 0 wrong\n")
    assert ran == ["magika/a", "magika/b", "magika/c", "magika/c"]
    text = command.PAGE.read_text()
    assert "- `magika/b`: no luck.\n" in text
    assert "2 of 3 in FP32" in " ".join(text.split())
    real_models("--retry-failed")
    assert ran[4:] == ["magika/b"]
    real_models("--fresh", "--only", "/a")
    assert ran[5:] == ["magika/a"]
    assert real_models("--update-page").exit_code == 0
    assert command.PAGE.read_text() == text
