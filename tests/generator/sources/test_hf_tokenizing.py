"""Texts become a model's inputs as transformers and sentence-transformers make them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers

from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources.hf import sentences, tokenizing
from modelrepo.generator.specs.preparation import Tokenizing
from modelrepo.generator.specs.tensors import TensorSpec
from tests import made_tokenizers


def inputs(*names: str, length: int | str = "sequence") -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "int64", ("batch", length)) for name in names)


TOKENS = inputs("input_ids", "attention_mask", "token_type_ids")


def settings(folder: Path, specs: Sequence[TensorSpec] = TOKENS, positions: int | None = None) -> Tokenizing:
    (found,) = tokenizing.preparation(folder, "hf:x", specs, positions).steps
    assert isinstance(found, Tokenizing)
    return found


def test_what_the_tokenizer_says_decides(tmp_path: Path) -> None:
    made_tokenizers.save("added_tokens", tmp_path)
    found = settings(tmp_path)
    assert (found.longest, found.padding_side, found.padding_id) == (100, "left", 0)
    assert '"truncation":null,"padding":null' in found.tokenizer.replace(" ", "").replace("\n", "")


def test_texts_are_cut_as_the_tokenizer_says_and_never_to_fewer_tokens(tmp_path: Path) -> None:
    made_tokenizers.save("bert_uncased", tmp_path)
    for positions in (40, 128, 4000):
        found = settings(tmp_path, positions=positions)
        assert (found.longest, found.most) == (128, positions)
    made_tokenizers.save("gpt2", tmp_path)
    assert settings(tmp_path, positions=64).longest is None


def test_sentence_transformers_cuts_to_its_own_limit_or_to_the_positions(tmp_path: Path) -> None:
    made_tokenizers.save("bert_uncased", tmp_path)
    assert of_sentences(tmp_path, positions=64).steps[0].longest == 64
    assert of_sentences(tmp_path, positions=512).steps[0].longest == 128
    assert of_sentences(tmp_path, positions=512, max_seq_length=32).steps[0].longest == 32
    made_tokenizers.save("gpt2", tmp_path)
    assert of_sentences(tmp_path, positions=64).steps[0].longest == 64


def test_the_positions_of_a_folder_are_those_of_its_configuration(tmp_path: Path) -> None:
    made_tokenizers.save("roberta", tmp_path)
    transformers.RobertaConfig(max_position_embeddings=514).save_pretrained(tmp_path)
    (found,) = tokenizing.of_folder(tmp_path, "hf:x", TOKENS, whole=False).steps
    assert (found.longest, found.most) == (128, 514)


def test_a_fixed_length_pads_and_cuts(tmp_path: Path) -> None:
    made_tokenizers.save("bert_uncased", tmp_path)
    specs = inputs("input_ids", "attention_mask", length=9)
    prepared = tokenizing.preparation(tmp_path, "hf:x", specs, None)
    answer = prepared.own(["a", "word " * 50])
    assert answer["input_ids"].shape == (2, 9)
    assert list(answer["attention_mask"].sum(axis=1)) == [3, 9]


def test_an_input_that_the_tokenizer_does_not_give_is_what_the_model_assumes(tmp_path: Path) -> None:
    made_tokenizers.save("roberta", tmp_path)
    found = settings(tmp_path)
    assert dict(found.given) == {"input_ids": "int64", "attention_mask": "int64"}
    assert dict(found.constant) == {"token_type_ids": (0, "int64")}


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (inputs("pixel_values"), "it takes pixel_values, not texts"),
        (inputs("input_ids", "decoder_input_ids"), "it takes decoder_input_ids beside texts"),
        ((TensorSpec("input_ids", "int64", ("batch", "choices", "sequence")),), "more than one text"),
    ],
)
def test_a_model_that_takes_more_than_a_text_is_refused(tmp_path: Path, specs: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        tokenizing.preparation(tmp_path, "hf:x", specs, None)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="has no tokenizer"):
        tokenizing.preparation(tmp_path, "hf:x", TOKENS, None)


def test_a_tokenizer_in_python_is_refused(tmp_path: Path) -> None:
    transformers.ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(OptionError, match=r"ByT5Tokenizer\) is Python code"):
        tokenizing.preparation(tmp_path, "hf:x", TOKENS, None)


def of_sentences(folder: Path, specs: Any = TOKENS, **said: Any) -> Any:
    positions = said.pop("positions", None)
    layers = (sentences.Layer("Pooling", folder, {"include_prompt": said.pop("include_prompt", True)}),)
    prompts = said.pop("prompts", {})
    found = sentences.Sentences(folder, encoder=False, layers=layers, settings=said, prompts=prompts)
    return tokenizing.of_sentences(found, "hf:x", specs, positions)


def test_sentence_transformers_writes_small_letters_first(tmp_path: Path) -> None:
    made_tokenizers.save("roberta", tmp_path)
    plain, small = (of_sentences(tmp_path, do_lower_case=lower).own for lower in (False, True))
    assert small(["ABC Ä"])["input_ids"].tolist() == plain(["abc ä"])["input_ids"].tolist()
    assert small(["ABC Ä"])["input_ids"].tolist() != plain(["ABC Ä"])["input_ids"].tolist()


def test_the_default_prompt_is_put_before_every_text_and_counted_if_it_is_not_pooled(tmp_path: Path) -> None:
    tokenizer = made_tokenizers.save("bert_uncased", tmp_path)
    specs = (*TOKENS, TensorSpec("prompt_length", "int64", ("batch", 1)))
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    prepared = of_sentences(tmp_path, specs, prompts=prompts, include_prompt=False)
    answer = prepared.own(["some words", "more"])
    assert answer["input_ids"][0].tolist() == tokenizer("query: some words")["input_ids"]
    assert answer["prompt_length"].tolist() == 2 * [[len(tokenizer("query: ")["input_ids"]) - 1]]


def test_settings_that_call_the_tokenizer_differently_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="has the setting processing_kwargs"):
        of_sentences(tmp_path, processing_kwargs={"text": {"padding": "max_length"}})


def test_special_tokens_within_a_text_are_plain_text_where_the_tokenizer_says_so(tmp_path: Path) -> None:
    made_tokenizers.save("bert_uncased", tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "split_special_tokens": True}))
    assert settings(tmp_path).split_special


def test_small_letters_come_before_other_normalizers_and_only_once(tmp_path: Path) -> None:
    made_tokenizers.save("albert", tmp_path)
    once = of_sentences(tmp_path, do_lower_case=True).steps[0].tokenizer
    assert once.count('"Lowercase"') == 1
    made_tokenizers.save("xlm_roberta", tmp_path)
    kinds = [
        each["type"]
        for each in json.loads(of_sentences(tmp_path, do_lower_case=True).steps[0].tokenizer)["normalizer"][
            "normalizers"
        ]
    ]
    assert kinds[0] == "Lowercase"
    assert len(kinds) > 1
