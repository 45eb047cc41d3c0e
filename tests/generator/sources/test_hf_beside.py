"""Files beside a Hugging Face model that say what is done around it: each step gets a note."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.sources.hf import beside, sentences


def noted(folder: Path, config: dict[str, Any], *names: str, **files: Any) -> list[str]:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return list(beside.notes(folder, folder, config, names or ("input_ids",)))


SIGMOID = "torch.nn.modules.activation.Sigmoid"
APPLIED = "its logits are served as they are: CrossEncoder applies Sigmoid to them, do likewise"


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"sentence_transformers": {"activation_fn": SIGMOID}}, {}),
        ({"sbert_ce_default_activation_function": SIGMOID}, {}),
        ({}, {"model_type": "CrossEncoder", "activation_fn": SIGMOID}),
    ],
)
def test_a_function_after_the_scores_is_told(tmp_path: Path, config: dict[str, Any], settings: dict[str, Any]) -> None:
    assert noted(tmp_path, config, config_sentence_transformers=settings) == [APPLIED]


def test_a_function_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    assert not noted(tmp_path, {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}})
    assert not noted(tmp_path, {})


def test_a_cross_encoder_is_its_transformer(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(
        json.dumps([{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}])
    )
    (tmp_path / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    (tmp_path / "sentence_bert_config.json").write_text('{"transformer_task": "sequence-classification"}')
    assert sentences.read(tmp_path, "") is None


def test_what_steers_the_next_token_is_told(tmp_path: Path) -> None:
    harmless = {"eos_token_id": 2, "transformers_version": "5.0"}
    assert not noted(tmp_path, {}, generation_config=harmless)
    told = noted(tmp_path, {}, generation_config={**harmless, "do_sample": True, "forced_bos_token_id": 3})
    (note,) = told
    assert note.endswith("follows generation_config.json (do_sample, forced_bos_token_id)")


def test_a_pipeline_of_its_own_is_told(tmp_path: Path) -> None:
    (told,) = noted(tmp_path, {"custom_pipelines": {"pair-classification": {"impl": "pair.PairPipeline"}}})
    assert told == "its own pipeline (pair-classification) is not served: the model alone is"


def test_how_sounds_are_prepared_is_told(tmp_path: Path) -> None:
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    (told,) = noted(tmp_path, {}, "input_values", preprocessor_config=settings)
    assert told.startswith("sounds are prepared by Wav2Vec2FeatureExtractor")
    assert not noted(tmp_path, {}, "pixel_values")
