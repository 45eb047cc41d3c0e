"""The agreement of variants that take what clients have: asked with photographs and texts, not with noise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelrepo.generator.errors import OptionError
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.perf.variants.agreement import AskedVariant, _data, agreements
from tests.served_models import write_for_kinds


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, AskedVariant]:
    folder = write_for_kinds(tmp_path_factory.mktemp("models"))

    def variant(name: str, kinds: dict[str, str]) -> AskedVariant:
        path = folder / name / "1/model.onnx"
        inputs = onnx_file.signature_of(path, ()).inputs
        record = SourceRecord(
            "numpy:m", Weights("random", "0", True), None, "numpy", 17, 8, (), inputs, input_kinds=kinds
        )
        return AskedVariant(name, path, Provenance("key", record, {}, {}, Verification()), 4)

    return {"means": variant("means", {"image": "pixels"}), "words": variant("words", {"text": "text"})}


def test_pictures_are_photographs(models: dict[str, AskedVariant]) -> None:
    model = models["means"]
    data = _data(model, onnx_file.signature_of(model.onnx, model.provenance.source.inputs), None)
    assert {pool.arrays["image"].shape for pool in data.pools} == {(1, 375, 500, 3)}
    means = [pool.arrays["image"].mean() for pool in data.pools]
    assert np.std(means) > 5  # noise has the same mean in all


@pytest.mark.parametrize("name", ["means", "words"])
def test_a_model_agrees_with_itself(models: dict[str, AskedVariant], name: str) -> None:
    twins = [models[name], replace(models[name], name="other")]
    found, problems = agreements(twins, None, Progress())
    assert not problems
    assert found["other"].top1 == 1.0


def test_the_users_pictures_of_any_size_are_asked(models: dict[str, AskedVariant], tmp_path: Path) -> None:
    Image.new("RGB", (8, 9), (200, 1, 2)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 4), (1, 200, 2)).save(tmp_path / "b.png")
    twins = [models["means"], replace(models["means"], name="other")]
    assert agreements(twins, tmp_path, Progress())[0]["other"].samples == 2
    with pytest.raises(OptionError, match="it takes text"):
        agreements([models["words"], replace(models["words"], name="other")], tmp_path, Progress())
