"""What a coarse precision keeps of a language model's use: directions of embeddings, and classes of scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Domain, Signature, TensorSpec
from modelrepo.generator.verification import usefulness
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool

TEXTS, TOKENS, SIZE = 40, 6, 16
IDS = TensorSpec("input_ids", "int64", ("batch", TOKENS), Domain(0, TEXTS))
MASK = TensorSpec("attention_mask", "int64", ("batch", TOKENS), Domain(0, 1, mask=True))
RANDOM = np.random.default_rng(0)
EMBEDDED = RANDOM.normal(size=(TEXTS, SIZE))
SCORES = RANDOM.normal(size=(TEXTS, 5))
TURNED = EMBEDDED + 0.05 * RANDOM.normal(size=EMBEDDED.shape)


def found(
    wanted: Any, got: Any, *, output: str = "sentence_embedding", mask: Any = None
) -> tuple[Accuracy, ...] | None:
    """Judge a model that answers the texts with the rows of ``got``, where its source answers ``wanted``."""

    def answering(rows: Any) -> Callable[[Any], Any]:
        return lambda arrays: {output: rows[arrays["input_ids"][:, 0]].astype("float32")}

    spec = TensorSpec(output, "float32", ("batch", *wanted.shape[1:]))
    source = SourceModel(
        "hf:x", "torch", None, (IDS, MASK), (output,), answering(wanted), Weights("file", "x", untrained=False),
        embeddings=("sentence_embedding", "last_hidden_state"), scores=("logits",),
    )  # fmt: skip
    ids = np.repeat(np.arange(TEXTS)[:, np.newaxis], TOKENS, 1)
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    data = Dataset((Pool(arrays, ("text",) * TEXTS),))
    signature = Signature((IDS, MASK), (spec,))
    return usefulness.reached(source, source.run, answering(got), data, signature, batch=8, limit=0.03)


def is_kept(wanted: Any, got: Any, **more: Any) -> bool:
    reached = found(wanted, got, **more)
    assert reached is not None
    return all(each.drop <= each.limit for each in reached)


def test_an_embedding_may_turn_a_little_in_every_text() -> None:
    (reached,) = found(EMBEDDED, TURNED) or ()
    cosines = (EMBEDDED * TURNED).sum(1) / np.linalg.norm(EMBEDDED, axis=1) / np.linalg.norm(TURNED, axis=1)
    assert reached.value == pytest.approx(cosines.min(), abs=1e-6)
    assert reached.limit == 0.05
    assert str(reached) == f"cosine of sentence_embedding {cosines.min():.3f} in the worst of 40 texts"
    assert is_kept(EMBEDDED, TURNED)


@pytest.mark.parametrize(
    "wrong",
    [
        EMBEDDED[:, RANDOM.permutation(SIZE)],
        np.roll(EMBEDDED, 1, axis=0),
        -EMBEDDED,
        0 * EMBEDDED,
        0.5 * EMBEDDED,
        2 * EMBEDDED,
        np.where(np.arange(TEXTS)[:, np.newaxis] == 7, EMBEDDED[3], EMBEDDED),
    ],
    ids=["scrambled", "of other texts", "opposite", "zeros", "half as long", "twice as long", "one of another text"],
)
def test_wrong_embeddings_are_noticed(wrong: Any) -> None:
    assert not is_kept(EMBEDDED, wrong)


def test_embeddings_that_are_all_alike_may_turn_by_a_share_of_their_distance_only() -> None:
    alike = 20 + EMBEDDED
    assert not is_kept(alike, np.roll(alike, 1, axis=0))  # their cosines are 0.99
    assert is_kept(alike, alike + 0.1 * (TURNED - EMBEDDED))


def test_the_embeddings_of_padding_do_not_count() -> None:
    tokens = RANDOM.normal(size=(TEXTS, TOKENS, SIZE))
    mask = np.ones((TEXTS, TOKENS), np.int64)
    mask[:, 4:] = 0
    other = np.where(mask[..., np.newaxis] == 1, tokens, 9.0)
    assert is_kept(tokens, other, output="last_hidden_state", mask=mask)
    assert not is_kept(tokens, other, output="last_hidden_state")


def test_scores_keep_their_largest_class() -> None:
    shrunk = 0.1 * SCORES + 7  # any other numbers
    assert is_kept(SCORES, shrunk, output="logits")
    other = np.where(np.arange(TEXTS)[:, np.newaxis] < 4, -SCORES, SCORES)
    (reached,) = found(SCORES, other, output="logits") or ()
    assert (reached.measured, reached.value, reached.samples) == ("top-1 agreement", 0.9, TEXTS)
    assert not is_kept(SCORES, other, output="logits")


def test_each_token_has_its_class() -> None:
    tokens = RANDOM.normal(size=(TEXTS, TOKENS, 5))
    (reached,) = found(tokens, tokens, output="logits") or ()
    assert reached.samples == TEXTS * TOKENS


def test_agreement_says_nothing_if_one_class_is_nearly_all() -> None:
    assert found(SCORES + 9 * np.eye(5)[0], SCORES, output="logits") is None


def test_numbers_without_a_use_are_not_judged_by_one() -> None:
    assert found(EMBEDDED, EMBEDDED, output="boxes") is None
    assert found(EMBEDDED[:, :1], EMBEDDED[:, :1]) is None


def test_nan_is_no_class() -> None:
    broken = np.where(np.arange(TEXTS)[:, np.newaxis] < 4, np.nan, SCORES)
    assert not is_kept(SCORES, broken, output="logits")
