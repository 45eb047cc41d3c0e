"""Likely texts: prose that a tokenizer knows, otherwise words of its vocabulary; and INT8 judged on them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers

from modelrepo.generator.optimize import int8_dynamic, recipe_of
from modelrepo.generator.optimize.recipe import Lowered, Request
from modelrepo.generator.optimize.task import Task
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources.hf import texts
from modelrepo.generator.specs.options import Choice, Pruning, Tolerance
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from tests.conftest import QUICK_EXPORT, Generate

LETTERS = [*map(chr, range(97, 123))]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
INPUTS = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in (texts.IDS, texts.MASK, texts.KINDS))


def tokenizer(folder: Path, pieces: list[str]) -> Any:
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *pieces]))
    return transformers.BertTokenizerFast(str(folder / "vocab.txt"))


@pytest.fixture
def english(tmp_path: Path) -> Any:
    """A tokenizer that knows every word of small letters, in letters."""
    return tokenizer(tmp_path, [*LETTERS, *(f"##{letter}" for letter in LETTERS), *"0123456789.,:;()'\"-_/`*=<>[]"])


def drawn(tokenizer: Any, count: int = 12, seed: int = 0, longest: int | None = None) -> list[Any]:
    draw = texts.drawing(tokenizer, INPUTS, longest)
    assert draw
    return list(draw(count, seed))


def test_texts_are_prose_that_the_tokenizer_knows(english: Any) -> None:
    groups = drawn(english)
    assert [each["input_ids"].shape for each in groups] == [(4, 12), (4, 33), (4, 96)]
    for each in groups:
        assert (each["input_ids"][:, 0] == english.cls_token_id).all()
        assert (each["input_ids"][:, -1] == english.sep_token_id).all()
        assert (each["attention_mask"] == 1).all()
        assert not each["token_type_ids"].any()
    from pydoc_data.topics import topics

    prose = "".join("".join(topics.values()).lower().split())
    read = english.decode(groups[0]["input_ids"][0], skip_special_tokens=True).replace(" ", "")
    assert read in prose


def test_the_seed_chooses_the_texts(english: Any) -> None:
    one, same, other = (drawn(english, seed=seed)[1]["input_ids"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_tokenizer_of_another_language_gets_words_of_its_own(tmp_path: Path) -> None:
    foreign = tokenizer(tmp_path, [chr(0x4E00 + number) for number in range(500)])
    groups = drawn(foreign, count=90)
    ids = np.concatenate([each["input_ids"].ravel() for each in groups])
    assert (ids != foreign.unk_token_id).all()
    common, rare = ((ids >= start) & (ids < start + 100) for start in (5, 405))
    assert common.sum() > 5 * rare.sum() > 0


def test_texts_stay_within_the_longest_and_the_fixed_length(english: Any) -> None:
    assert [each["input_ids"].shape[1] for each in drawn(english, longest=20)] == [12, 20]
    fixed = tuple(replace(spec, shape=("batch", 40)) for spec in INPUTS)
    draw = texts.drawing(english, fixed, 64)
    assert draw
    assert [each["input_ids"].shape for each in draw(8, 0)] == [(8, 40)]


def test_words_that_the_model_does_not_know_are_not_drawn(english: Any) -> None:
    few = tuple(replace(spec, domain=Domain(0, 30)) for spec in INPUTS)
    draw = texts.drawing(english, few, 8)
    assert draw
    (group,) = draw(40, 0)
    assert group["input_ids"].shape == (40, 8)
    assert group["input_ids"].max() <= 30


def test_a_decoder_gets_texts_and_a_prompt_has_no_tokens(english: Any) -> None:
    more = (
        TensorSpec(texts.DECODED, "int64", ("batch", "decoder_sequence")),
        TensorSpec(texts.PROMPT, "int64", ("batch", 1)),
    )
    draw = texts.drawing(english, (*INPUTS, *more), None)
    assert draw
    (first, *_) = draw(3, 0)
    np.testing.assert_array_equal(first["decoder_input_ids"], first["input_ids"])
    assert first["prompt_length"].tolist() == [[0]]


def test_other_inputs_than_texts_are_not_drawn(english: Any) -> None:
    pixels = TensorSpec("pixel_values", "float32", ("batch", 3, 8, 8))
    assert texts.drawing(english, (*INPUTS, pixels), None) is None
    assert texts.drawing(None, INPUTS, None) is None
    assert texts.drawing(english, INPUTS[1:], None) is None


# INT8.


@pytest.fixture
def bert(workdir: Path, english: Any) -> Path:
    """A BERT whose embeddings depend on the text."""
    folder = Path("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(english), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    english.save_pretrained(folder)
    return folder


ARGUMENTS = ("--model", "hf:./bert", "--precision", "int8-dynamic", *QUICK_EXPORT, "--verify-effort", "quick")


def test_an_embedder_in_int8_is_judged_by_cosines_on_texts(generate: Generate, bert: Path) -> None:
    outcome = generate(*ARGUMENTS, "--json", "-q")
    assert outcome.code == 0, outcome.err
    reached = outcome.result["optimization"]["accuracy"]
    assert reached["measured"] in ("cosine of last_hidden_state", "cosine of pooler_output")
    assert (reached["samples"], reached["source"]) == (128, 1.0)
    assert 1 - reached["limit"] <= reached["value"] < 1
    assert outcome.result["verification"]["tolerance"] == "that of its use"


def scrambling(request: Request) -> Lowered:
    """Lower to INT8, and exchange the columns of every weight."""
    lowered = int8_dynamic.lower(request)
    model = onnx.load(lowered.export.path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.ndim == 2:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values[:, ::-1]), tensor.name))
    onnx.save(model, lowered.export.path)
    return lowered


def test_a_wrong_int8_model_is_refused(generate: Generate, bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_dynamic, "RECIPE", replace(int8_dynamic.RECIPE, lower=scrambling))
    outcome = generate(*ARGUMENTS, "-q")
    assert outcome.code == 5, outcome.err
    assert "cosine of " in outcome.err
    assert " is needed" in outcome.err


def task(precision: str, **options: Any) -> Task:
    proven: Any = SimpleNamespace(source=SimpleNamespace(likely=lambda count, seed: ()))
    asked: Any = SimpleNamespace(**{"prune": None, "tolerance": None, **options})
    return Task(Choice("onnx", precision), False, proven, asked, recipe_of(precision), Path(), Progress())


def test_finer_precisions_and_the_users_tolerance_compare_numbers() -> None:
    assert task("int8").by_use
    assert task("int8-dynamic").by_use
    assert not task("fp16").by_use
    assert not task("bf16").by_use
    assert not task("int8", tolerance=Tolerance(0.5)).by_use
    assert not task("int8", prune=Pruning()).by_use
