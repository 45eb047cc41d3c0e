"""The live check of ensembles: a real Triton serves them with their models, and a step at fault is named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.ensembles.published import OnnxReference
from modelrepo.generator.specs.tensors import Arrays
from tests.conftest import Generate, Outcome
from tests.generator.ensembles import nets

ASKED = ("--json", "--live-check", "require")


@pytest.fixture
def folder(workdir: Path) -> Path:
    nets.write(workdir)
    return workdir


def written(folder: Path, *steps: str, more: str = "", models: str = "") -> None:
    (folder / "modelrepo.toml").write_text(nets.FILE + models + nets.steps(*steps, more=more))


def live(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    row = outcome.report["results"][-1]
    assert row["name"] == "e"
    found: dict[str, Any] = row["verification"]["live"]
    return {**found, "max_batch_size": row["max_batch_size"]}


def test_an_ensemble_answers_as_its_models_one_after_the_other(folder: Path, generate: Generate) -> None:
    first, second = "use = 'first'\noutputs = { y = 'hidden' }", "use = 'second'\ninputs = { y = 'hidden' }"
    written(folder, first, second, "use = 'onnx:best.onnx'", more="outputs = ['hidden', 'second.scores', 'label']")
    found = live(generate(*ASKED))
    assert found["status"] == "passed"
    assert found["cases"] > 20
    assert found["max_rel_diff"] == 0


@pytest.mark.parametrize(("file", "batch"), [("second.onnx", 16), ("fixed.onnx", 0)])
def test_a_model_without_batches_may_be_a_step(folder: Path, generate: Generate, file: str, batch: int) -> None:
    models = f"[models.whole]\nmodel = '{file}'\nmax_batch_size = 0\n"
    written(folder, "use = 'first'", "use = 'whole'", models=models)
    found = live(generate(*ASKED))
    assert (found["status"], found["max_batch_size"]) == ("passed", batch)


def test_a_step_that_answers_wrongly_is_named_and_nothing_is_published(
    folder: Path, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxReference.__call__

    def wrong(self: OnnxReference, arrays: Arrays) -> Mapping[str, Any]:
        answers = right(self, arrays)
        return {name: 1.1 * array.astype("float32") if name == "scores" else array for name, array in answers.items()}

    written(folder, "use = 'first'", "use = 'second'")
    monkeypatch.setattr(OnnxReference, "__call__", wrong)
    outcome = generate(*ASKED)
    assert outcome.code == 5
    assert "step 'second' (second) answers 'scores' otherwise than its reference" in outcome.err
    assert not Path("model_repository/e").exists()
