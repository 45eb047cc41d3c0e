"""The tokenize step gives the ids of transformers, in every script; what can't be read fails alone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.ensembles.text_step import SETTINGS, TOKENIZER, TextError, Tokens
from modelrepo.generator.sources.hf import tokenizing
from modelrepo.generator.specs.preparation import Preparation, Tokenizing
from modelrepo.generator.specs.tensors import TensorSpec
from modelrepo.generator.verification.corpus import TEXTS
from tests import made_tokenizers

INPUTS = tuple(
    TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
)


def written(found: Tokenizing, folder: Path) -> Tokens:
    folder.mkdir(exist_ok=True)
    (folder / TOKENIZER).write_text(found.tokenizer, encoding="utf-8")
    (folder / SETTINGS).write_text(json.dumps(found.settings), encoding="utf-8")
    return Tokens(folder)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], tuple[Preparation, Tokens]]:
    """Makes a tokenizer of a kind: as transformers calls it, and as the step does."""

    def make(kind: str) -> tuple[Preparation, Tokens]:
        made_tokenizers.save(kind, tmp_path)
        prepared = tokenizing.preparation(tmp_path, "hf:x", INPUTS, None)
        return prepared, written(prepared.steps[0], tmp_path / "step")

    return make


def request(*texts: str | bytes) -> Any:
    items = [text.encode() if isinstance(text, str) else text for text in texts]
    return np.array([[item] for item in items], np.object_).reshape(len(items), 1)


def answered(tokens: Tokens, texts: Sequence[str | bytes]) -> Any:
    (answer,) = tokens.answer_all([request(*texts)])
    return answer


def differing(prepared: Preparation, tokens: Tokens, texts: Sequence[str]) -> bool:
    wanted, got = prepared.own(texts), answered(tokens, texts)
    return got.keys() != wanted.keys() or not all(np.array_equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("kind", made_tokenizers.KINDS)
def test_every_text_of_the_corpus_has_the_ids_of_transformers(made: Any, kind: str) -> None:
    prepared, tokens = made(kind)
    several = [text for text in TEXTS if prepared.own([text])["input_ids"].size]
    assert [text[:40] for text in several if differing(prepared, tokens, [text])] == []
    if prepared.steps[0].padding_id is not None:
        batches = [several[start : start + 7] for start in range(0, len(several), 7)]
        assert [batch for batch in batches if differing(prepared, tokens, batch)] == []


def test_each_request_is_padded_to_its_own_longest_text(made: Any) -> None:
    _, tokens = made("bert_uncased")
    short, long = tokens.answer_all([request("a", "b c"), request("a", "a b c d e f g")])
    assert short["input_ids"].shape == (2, 4)
    assert long["input_ids"].shape == (2, 9)
    assert short["attention_mask"][0].tolist() == [1, 1, 1, 0]


def test_a_text_that_is_not_utf8_fails_alone(made: Any) -> None:
    _, tokens = made("bert_uncased")
    good, bad = tokens.answer_all([request("a"), request("a", b"b\xff")])
    assert good["input_ids"].shape == (1, 3)
    assert isinstance(bad, TextError)
    assert str(bad) == "text 2 of the request is not UTF-8: byte 1 can't be read"


def test_texts_of_different_lengths_need_a_token_for_padding(made: Any) -> None:
    _, tokens = made("gpt2")
    assert answered(tokens, ["abc", "abc"])["input_ids"].shape[0] == 2
    assert "no token for padding" in str(answered(tokens, ["abc", "a longer text"]))


def test_a_request_without_any_token_says_so(made: Any) -> None:
    prepared, tokens = made("qwen")
    assert prepared.own([""])["input_ids"].shape == (1, 0)
    assert "no tokens" in str(answered(tokens, [""]))
    assert answered(tokens, ["", "a"])["attention_mask"].tolist() == [[0], [1]]


def test_no_texts_have_no_rows(made: Any) -> None:
    _, tokens = made("bert_uncased")
    assert answered(tokens, [])["input_ids"].shape == (0, 0)


def test_a_text_of_a_megabyte_is_cut(made: Any) -> None:
    _, tokens = made("xlm_roberta")
    assert answered(tokens, ["word " * 200_000])["input_ids"].shape == (1, 128)


def test_a_fixed_length_and_numbers_for_a_text(made: Any, tmp_path: Path) -> None:
    prepared, _ = made("bert_uncased")
    fixed = replace(prepared.steps[0], fixed=6, longest=6, numbers={"prompt_length": (2, "int32")}, prefix="a ")
    answer = answered(written(fixed, tmp_path / "fixed"), ["b", "b c d e f g"])
    assert answer["input_ids"].shape == (2, 6)
    assert answer["attention_mask"].sum(axis=1).tolist() == [4, 6]
    assert answer["prompt_length"].tolist() == [[2], [2]]
    assert answer["prompt_length"].dtype == np.int32


def test_a_text_that_is_too_long_for_the_model_says_so(made: Any, tmp_path: Path) -> None:
    prepared, _ = made("qwen")
    tokens = written(replace(prepared.steps[0], longest=None, most=10), tmp_path / "short")
    assert str(answered(tokens, ["a", "b " * 40])) == "text 2 of the request has 80 tokens, and the model takes 10"
    assert answered(tokens, ["a", "b"])["input_ids"].shape == (2, 1)
