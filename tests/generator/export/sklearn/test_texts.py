"""Vectorizers: tokens, characters and weights of any text as scikit-learn finds them."""

import re
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.token_patterns import tokens_of
from tests.generator.export.sklearn.serving import check, loaded

FITTED = [
    *("I've seen a good film", "we've had a bad day", "a bad film and a long day", "good day to all of you"),
    *("crème brûlée à la carte", "naïve Straße ΣΊΣΥΦΟΣ", "x y z 1 2 34 _under_score"),
]
ASKED = [
    *(*FITTED, "good film", "naïve film", "GOOD FILM", "", "   ", "a", "é", "l'été don't", "crème BRÛLÉE"),
    *("good-film;bad\tday\nfilm", "😀 good 😀film", "good\u200dfilm", "ÅNGSTRÖM İstanbul STRASSE", "ΣΊΣΥΦΟΣ ΣΑΣ"),
    *(
        "٣٤ 34 ½ x²",
        "日本語 テキスト",
        "good " * 500,
        "e\u0301te\u0301 good",
        "#hash @user ##",
        "ǅ Ǆ \u212a \u017ftreet",
    ),
    *("good\u00a0film\u3000bad\u2028day\x1cday\x85film", "\u212a \u017ftreet", "a  \n b", " good  day "),
]
TEXTS = np.array([[each] for each in ASKED], object)


@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"ngram_range": (1, 2)}, {"stop_words": "english"}, {"ngram_range": (1, 3), "stop_words": ["a", "of"]}),
        *({"lowercase": False}, {"binary": True}, {"vocabulary": ["good", "film", "crème"]}, {"max_features": 5}),
        *({"analyzer": "char", "ngram_range": (1, 3)}, {"analyzer": "char_wb", "ngram_range": (2, 3)}),
        *({"analyzer": "char", "lowercase": False}, {"analyzer": "char_wb", "ngram_range": (1, 5)}),
        *(
            {"token_pattern": each}
            for each in (r"(?u)\b\w+\b", r"\S+", "[a-z]+", r"(?u)\b\w\w\w+\b", r"\b[a-zA-Z]{2,}\b")
        ),
        *({"token_pattern": each} for each in (r"(?i)[a-z]+(?:'[a-z]+)?", r"(?a)\w\w+", r"\w+|[^\w\s]+", r"[^\s.;]+")),
    ],
    ids=str,
)
def test_texts_are_split_and_counted_as_by_their_vectorizer(settings: dict[str, Any]) -> None:
    check(CountVectorizer(**settings).fit(FITTED), TEXTS)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sublinear_tf": True},
        {"norm": "l1"},
        {"norm": None},
        {"use_idf": False},
        {"smooth_idf": False, "binary": True},
    ],
    ids=str,
)
def test_counts_are_weighed_as_by_their_vectorizer(settings: dict[str, Any]) -> None:
    check(TfidfVectorizer(**settings).fit(FITTED), TEXTS)
    settings = {name: value for name, value in settings.items() if name != "binary"}
    model = make_pipeline(CountVectorizer(), TfidfTransformer(**settings), LogisticRegression())
    check(model.fit(FITTED, np.arange(7) % 2), TEXTS)


def test_empty_texts_alone_and_texts_next_to_numbers_are_answered() -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(FITTED, np.arange(7) % 2)
    check(model, np.array([[""], [" "]], object))
    frame = pandas.DataFrame({"text": FITTED, "number": np.arange(7.0)})
    columns = make_column_transformer((TfidfVectorizer(), "text"), remainder="passthrough")
    check(
        make_pipeline(columns, LogisticRegression()).fit(frame, np.arange(7) % 2),
        {"text": TEXTS, "number": TEXTS != ""},
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tokenizer": str.split, "token_pattern": None}, "the tokenizer of CountVectorizer"),
        ({"preprocessor": str.upper}, "the preprocessor of CountVectorizer"),
        ({"analyzer": str.split}, "the analyzer of CountVectorizer"),
        ({"strip_accents": "unicode"}, "strip_accents='unicode' of CountVectorizer"),
        ({"token_pattern": r"(?<=\s)\w+"}, re.escape(r"the token_pattern '(?<=\\s)\\w+'")),
        ({"token_pattern": r"\b[a-z]+\b", "ngram_range": (1, 2)}, "n-grams of the token_pattern"),
        ({"token_pattern": "a|ab"}, "takes the longest match"),
        ({"token_pattern": r"\w{2,4}?"}, "takes the longest match"),
        ({"token_pattern": r"\b\w+'\w+\b", "vocabulary": ["i've"]}, "other characters than those of words"),
    ],
)
def test_what_onnx_cannot_split_is_refused_by_its_name(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        check(CountVectorizer(**settings).fit(FITTED), TEXTS)


def test_classes_hold_exactly_the_letters_of_python() -> None:
    for letter in ("é", "٣", "日", "_", "²", "\u0301", "'", "İ"):
        expression = tokens_of(r"\w\w*", lowercase=False).expression.partition("]")[0]
        ranges = re.findall(r"\\x\{(\w+)\}-\\x\{(\w+)\}", expression)
        found = any(int(low, 16) <= ord(letter) <= int(high, 16) for low, high in ranges)
        assert found == bool(re.match(r"\w", letter)), letter


def test_the_domain_has_texts_that_a_tokenizer_may_split_otherwise() -> None:
    domain = loaded(TfidfVectorizer().fit(FITTED)).inputs[0].domain
    others = "\n".join(map(str, domain.others))
    assert "" in domain.others
    assert max(map(len, map(str, domain.others))) > 1000
    for part in ("'", "é", "日", " a ", "GOOD", "😀"):
        assert part in others, part
