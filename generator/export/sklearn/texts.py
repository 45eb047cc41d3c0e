"""Vectorizers of texts: scikit-learn's tokens in Unicode, n-grams without stop words, and their weights.

skl2onnx 1.20 finds tokens of ASCII letters and of one letter (onnx/sklearn-onnx#1175), drops stop words only if they
are a whole text, takes log(1 + count) for sublinear counts, and refuses words with accents (no issues known).

Each token becomes a number: its place among the vocabulary's tokens, or UNKNOWN. Everything behind is on numbers.
"""

import re
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.nodes import MICROSOFT, ML, Nodes, tensor_type, whole
from modelrepo.generator.export.sklearn.token_patterns import DOT_ABOVE, DOTTED_I, characters, tokens_of

# The locale for lower case: the images of Ubuntu and Debian have this one, few have the en_US.UTF-8 that ONNX Runtime
# looks for. In it each character has the lower case of Python's, except DOTTED_I.
LOCALE = "C.UTF-8"
# What fills a row behind its last token; a private character, which no vocabulary has.
PAD = "\ue000"
UNKNOWN, SKIPPED, BREAK = -1, -2, -3
SIGMA, FINAL_SIGMA = "\u03c3", "\u03c2"
# The shortest n-gram of char_wb for which no word with its two blanks is too short.
SHORTEST = 3
Ids = dict[str, int]


def vectorizer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a CountVectorizer or TfidfVectorizer; ConversionError for one with code of its own."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    _check(own)
    texts = nodes.add("Reshape", operator.inputs[0].full_name, whole([-1]))
    grams = {text: _parts(own, text) for text in own.vocabulary_}
    ids = {part: place for place, part in enumerate(sorted({part for each in grams.values() for part in each}))}
    tokens = _words(nodes, own, texts, ids) if own.analyzer == "word" else _characters(nodes, own, texts, ids)
    counts = _counted(
        nodes, tokens, [(own.vocabulary_[text], [ids[part] for part in each]) for text, each in grams.items()]
    )
    if own.binary:
        counts = nodes.cast(nodes.cast(counts, "bool"), "float32")
    if hasattr(own, "_tfidf"):
        counts = _weighted(nodes, counts, own._tfidf, "float32")
    nodes.add("Identity", counts, result=operator.outputs[0].full_name)


def vectorizer_shapes(operator: Any) -> None:
    """Set the type of ``vectorizer``."""
    operator.outputs[0].type = tensor_type("float32", max(operator.raw_operator.vocabulary_.values()) + 1)


def weights(scope: Any, operator: Any, container: Any) -> None:
    """Convert a TfidfTransformer."""
    nodes = Nodes(scope, container)
    counts = nodes.joined(operator.inputs, "float32")
    nodes.add(
        "Identity", _weighted(nodes, counts, operator.raw_operator, "float32"), result=operator.outputs[0].full_name
    )


def weights_shapes(operator: Any) -> None:
    """Set the type of ``weights``."""
    operator.outputs[0].type = tensor_type("float32", operator.inputs[0].type.shape[1])


def _check(vectorizer: Any) -> None:
    name = type(vectorizer).__name__
    for setting in ("preprocessor", "tokenizer"):
        if getattr(vectorizer, setting) is not None:
            raise ConversionError(
                f"can't convert the {setting} of {name}: it is code of its own", "Fit with a token_pattern instead"
            )
    if callable(vectorizer.analyzer):
        raise ConversionError(
            f"can't convert the analyzer of {name}: it is code of its own", "Fit with analyzer='word'"
        )
    if vectorizer.strip_accents is not None:
        raise ConversionError(
            f"can't convert strip_accents={vectorizer.strip_accents!r} of {name}: ONNX has no operator for it",
            "Remove accents before the texts are sent, and fit without strip_accents",
        )
    if vectorizer.analyzer == "char_wb" and vectorizer.ngram_range[0] > SHORTEST:
        raise ConversionError(
            f"can't convert analyzer='char_wb' of {name} with n-grams of {vectorizer.ngram_range[0]} and more",
            f"Fit with an ngram_range from {SHORTEST} on",
        )


def _parts(vectorizer: Any, text: str) -> tuple[str, ...]:
    """Return the tokens of an n-gram."""
    if vectorizer.analyzer != "word":
        return tuple(text)
    return tuple(text.split(" ")) if vectorizer.ngram_range[1] > 1 else (text,)


def _words(nodes: Nodes, vectorizer: Any, texts: str, ids: Ids) -> str:
    """Return the number of each token of each text, int64 (batch, tokens), without stop words."""
    pattern = tokens_of(vectorizer.token_pattern, vectorizer.lowercase)
    several = vectorizer.ngram_range[1] > 1
    if several and (pattern.filtered or pattern.spaces):
        raise ConversionError(
            f"can't convert n-grams of the token_pattern {vectorizer.token_pattern!r}: words that are no tokens lie "
            "between them",
            r"Fit with ngram_range=(1, 1), or with a token_pattern such as (?u)\b\w\w+\b",
        )
    tokens = _tokenized(nodes, texts, pattern.expression)
    if vectorizer.lowercase:
        flat = nodes.add("Reshape", tokens, whole([-1]))
        lower = nodes.add("StringNormalizer", flat, case_change_action="LOWER", is_case_sensitive=1, locale=LOCALE)
        tokens = nodes.add("Reshape", lower, nodes.add("Shape", tokens))
    known = dict(ids)
    if pattern.filtered:
        known = {token: place for token, place in ids.items() if re.fullmatch(vectorizer.token_pattern, token)}
    stop = set(vectorizer.get_stop_words() or ()) if several else set()
    known = {**dict.fromkeys(stop, SKIPPED), **{word: at for word, at in known.items() if word not in stop}}
    found = _numbers(nodes, tokens, _with_sigma(known) if vectorizer.lowercase else known)
    return _kept(nodes, found) if stop else found


def _with_sigma(ids: Ids) -> Ids:
    """Return the numbers of tokens also for a capital sigma at their end, whose lower case there is another."""
    more = {f"{each[:-1]}{SIGMA}": place for each, place in ids.items() if each.endswith(FINAL_SIGMA) and len(each) > 1}
    return {**more, **ids}


def _tokenized(nodes: Nodes, texts: str, expression: str) -> str:
    """Return the parts of each text that an expression finds, filled up; at least one column, also for empty texts."""
    tokens = nodes.add(
        "Tokenizer",
        texts,
        domain=MICROSOFT,
        pad_value=PAD,
        mark=0,
        mincharnum=1,
        tokenexp=expression,
    )
    rows = nodes.add("Slice", nodes.add("Shape", tokens), whole([0]), whole([1]))
    first = nodes.add("ConstantOfShape", nodes.add("Concat", rows, whole([1]), axis=0), **_zero())
    return nodes.side_by_side([tokens, nodes.add("Gather", _texts([PAD]), first)])


def _texts(values: list[str]) -> Any:
    import numpy as np

    return np.array(values, object)


def _zero(value: int = 0) -> dict[str, Any]:
    from onnx import helper

    return {"value": helper.make_tensor("value", 7, [1], [value])}


def _numbers(nodes: Nodes, tokens: str, ids: Ids, default: int = UNKNOWN) -> str:
    return nodes.add(
        "LabelEncoder",
        tokens,
        domain=ML,
        op_version=2,
        keys_strings=[each.encode() for each in ids] or [PAD.encode()],
        values_int64s=list(ids.values()) or [default],
        default_int64=default,
    )


def _characters(nodes: Nodes, vectorizer: Any, texts: str, ids: Ids) -> str:
    """Return the number of each character of each text, int64 (batch, characters).

    Blanks in a row are one; with char_wb a blank lies on each side of each word, and words are apart.
    """
    tokens = _tokenized(nodes, texts, "(?s:.)")
    cases = _cases(ids) if vectorizer.lowercase else ids
    found = _numbers(nodes, tokens, {each: place for each, place in cases.items() if not each.isspace()})
    if vectorizer.lowercase and {SIGMA, FINAL_SIGMA} & set(ids):
        found = nodes.add("Where", _final_sigmas(nodes, tokens), whole(ids.get(FINAL_SIGMA, UNKNOWN)), found)
    blank = _among(nodes, tokens, _blanks())
    before, after = _shifted(nodes, blank, 1), _shifted(nodes, blank, -1)
    again = nodes.add("And", blank, before)
    space, skipped = whole(ids.get(" ", UNKNOWN)), whole(SKIPPED)
    if vectorizer.analyzer == "char":
        single = _numbers(nodes, tokens, {each: place for each, place in ids.items() if each.isspace()})
        found = nodes.add("Where", blank, nodes.add("Where", after, space, single), found)
        slots = [nodes.add("Where", again, skipped, found), _dots(nodes, vectorizer, tokens, ids)]
        return _kept(nodes, _interleaved(nodes, slots))
    # The row begins and ends as behind and before a blank, and the rest of a run of blanks is nothing.
    gap = nodes.add("Or", blank, _among(nodes, tokens, [PAD]))
    word = nodes.add("Not", gap)
    first = nodes.add("And", word, nodes.add("Not", _shifted(nodes, word, 1)))
    last = nodes.add("And", word, nodes.add("Not", _shifted(nodes, word, -1)))
    slots = [
        nodes.add("Where", first, space, skipped),
        nodes.add("Where", word, found, skipped),
        nodes.add("Where", word, _dots(nodes, vectorizer, tokens, ids), skipped),
        nodes.add("Where", last, space, skipped),
        nodes.add("Where", last, whole(BREAK), skipped),
    ]
    return _kept(nodes, _interleaved(nodes, slots))


def _among(nodes: Nodes, tokens: str, values: list[str]) -> str:
    """Return which tokens are among these."""
    return nodes.cast(_numbers(nodes, tokens, dict.fromkeys(values, 1), 0), "bool")


def _final_sigmas(nodes: Nodes, tokens: str) -> str:
    """Return which characters are a capital sigma at the end of a word, where its lower case is FINAL_SIGMA."""
    cased = _among(nodes, tokens, [each for each in characters() if each.isupper() or each.islower() or each.istitle()])
    end = nodes.add("And", _shifted(nodes, cased, 1), nodes.add("Not", _shifted(nodes, cased, -1)))
    return nodes.add("And", _among(nodes, tokens, [SIGMA.upper()]), end)


def _dots(nodes: Nodes, vectorizer: Any, tokens: str, ids: Ids) -> str:
    """Return the number of the second character of a lower case, SKIPPED for characters that have none."""
    second = {DOTTED_I: ids.get(DOT_ABOVE, UNKNOWN)} if vectorizer.lowercase else {}
    return _numbers(nodes, tokens, second, SKIPPED)


def _cases(ids: Ids) -> Ids:
    """Return the numbers of characters for each character that has one of them as its lower case."""
    pairs = zip(characters(), characters(lowercase=True), strict=True)
    first = {DOTTED_I: ids["i"]} if "i" in ids else {}
    return {**{each: ids[lower] for each, lower in pairs if lower in ids and lower != "\0"}, **first}


def _blanks() -> list[str]:
    return re.findall(r"\s", characters())


def _shifted(nodes: Nodes, truths: str, by: int) -> str:
    """Return for each column what the one before it (1) or after it (-1) is; nothing is before the first."""
    import numpy as np

    none = np.iinfo(np.int64)
    edge = nodes.add("Slice", truths, whole([0]), whole([1]), whole([1]))
    edge = nodes.add("And", edge, np.array([[False]]))
    if by > 0:
        return nodes.side_by_side([edge, nodes.add("Slice", truths, whole([0]), whole([-1]), whole([1]))])
    return nodes.side_by_side([nodes.add("Slice", truths, whole([1]), whole([none.max]), whole([1])), edge])


def _interleaved(nodes: Nodes, slots: list[str]) -> str:
    """Return matrices of (batch, n) as one, in which their columns alternate."""
    apart = [nodes.add("Unsqueeze", each, whole([2])) for each in slots]
    return nodes.add("Reshape", nodes.add("Concat", *apart, axis=2), whole([0, -1]), allowzero=0)


def _kept(nodes: Nodes, numbers: str) -> str:
    """Return the numbers of each row without SKIPPED ones, filled up with UNKNOWN."""
    kept = nodes.add("Not", nodes.add("Equal", numbers, whole(SKIPPED)))
    place = nodes.add("Sub", nodes.add("CumSum", nodes.cast(kept, "int64"), whole(1)), whole(1))
    shape = nodes.add("Shape", numbers)
    width = nodes.add("Slice", shape, whole([1]), whole([2]))
    target = nodes.add("Where", kept, place, width)
    empty = nodes.add("ConstantOfShape", nodes.add("Add", shape, whole([0, 1])), **_zero(UNKNOWN))
    filled = nodes.add("ScatterElements", empty, target, numbers, axis=1)
    return nodes.add("Slice", filled, whole([0]), width, whole([1]))


def _counted(nodes: Nodes, numbers: str, grams: list[tuple[int, list[int]]]) -> str:
    """Return how often each n-gram occurs in each row, float32 (batch, n-grams)."""
    longest = max(len(parts) for _, parts in grams)
    pool: list[int] = []
    indices, starts = [], []
    for size in range(1, longest + 1):
        starts.append(len(pool))
        for index, parts in grams:
            if len(parts) == size:
                pool += parts
                indices.append(index)
    return nodes.add(
        "TfIdfVectorizer",
        numbers,
        op_version=9,
        mode="TF",
        min_gram_length=min(len(parts) for _, parts in grams),
        max_gram_length=longest,
        max_skip_count=0,
        pool_int64s=pool,
        ngram_counts=starts,
        ngram_indexes=indices,
        weights=[1.0] * len(indices),
    )


def _weighted(nodes: Nodes, counts: str, transformer: Any, kind: str) -> str:
    """Return counts as a TfidfTransformer weighs them."""
    import numpy as np

    zero, one = np.zeros(1, kind), np.ones(1, kind)
    weighed = counts
    if transformer.sublinear_tf:
        positive = nodes.add("Greater", counts, zero)
        weighed = nodes.add("Add", nodes.add("Log", nodes.add("Where", positive, counts, one)), one)
        weighed = nodes.add("Where", positive, weighed, zero)
    if transformer.use_idf:
        weighed = nodes.add("Mul", weighed, np.asarray(transformer.idf_).astype(kind)[np.newaxis])
    if transformer.norm is None:
        return weighed
    if transformer.norm == "l1":
        length = nodes.add("ReduceSum", nodes.add("Abs", weighed), whole([1]), keepdims=1)
    else:
        length = nodes.add("Sqrt", nodes.add("ReduceSum", nodes.add("Mul", weighed, weighed), whole([1]), keepdims=1))
    length = nodes.add("Where", nodes.add("Equal", length, zero), one, length)
    return nodes.add("Div", weighed, length)
