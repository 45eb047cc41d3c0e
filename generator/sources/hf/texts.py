"""A folder's tokenizer, and inputs that its vocabulary makes likely: real texts, or common words most often."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf.hub import HF
from modelrepo.generator.specs.tensors import Arrays, TensorSpec
from modelrepo.generator.system.extras import need
from modelrepo.generator.system.quiet import quiet

# The inputs of a text that a tokenizer gives, and those that follow from them.
IDS, MASK, KINDS, DECODED, PROMPT = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "decoder_input_ids",
    "prompt_length",
)
# The numbers of tokens of likely texts, as far as the model takes them: a heading, a sentence and a paragraph.
LENGTHS = (12, 33, 96)
# Prose of Python's own documentation has paragraphs of at least so many characters.
PROSE = 60
# A text of which this share is unknown to a tokenizer is in another language.
MOST_UNKNOWN = 0.1
# Zipf's law: a word's frequency falls with its rank in the vocabulary, but not steeply for the first ones.
FLAT_RANKS = 10.0
# How often texts are drawn before fewer are enough.
ROUNDS = 4


def tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer; None if it has none that transformers reads without code of its own."""
    if not any(file.name.startswith(folders.COMPANION_STARTS) for file in folders.companions(folder)):
        return None
    transformers = need("transformers", HF)
    try:
        with quiet():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:  # a broken tokenizer is not the model's fault
        return None


def given(tokenizer: Any) -> tuple[str, ...]:
    """Return the names of the inputs that a tokenizer gives; none without one."""
    return tuple(tokenizer.model_input_names) if tokenizer else ()


def keeps_case(tokenizer: Any) -> bool:
    """Whether a tokenizer tells capitals from small letters."""
    ids = [tokenizer(text)["input_ids"] for text in ("A B C", "a b c")] if tokenizer else [0, 0]
    return bool(ids[0] != ids[1])


def drawing(
    tokenizer: Any, inputs: Sequence[TensorSpec], longest: int | None
) -> Callable[[int, int], Sequence[Arrays]] | None:
    """Return a function that draws ``count`` likely inputs with a seed, in groups of one length.

    Each group has arrays with a leading axis of texts. None for a model that takes more than texts, or without a
    tokenizer.
    """
    names = {spec.name for spec in inputs}
    plain = all(len(spec.shape) == 2 for spec in inputs)
    if tokenizer is None or IDS not in names or not plain or names - {IDS, MASK, KINDS, DECODED, PROMPT}:
        return None
    (fixed,) = (spec.shape[1] for spec in inputs if spec.name == IDS)
    most = fixed if isinstance(fixed, int) else longest
    lengths = [fixed] if isinstance(fixed, int) else sorted({min(size, most) if most else size for size in LENGTHS})
    return partial(_drawn, tokenizer, tuple(inputs), lengths)


def _drawn(
    tokenizer: Any, inputs: Sequence[TensorSpec], lengths: Sequence[int], count: int, seed: int
) -> Sequence[Arrays]:
    import numpy as np

    random = np.random.default_rng(seed)
    # A tokenizer may have more words than the model.
    limits = [spec.domain.high for spec in inputs if spec.name in (IDS, DECODED) and spec.domain.high is not None]
    known = min(limits, default=np.inf)
    groups = []
    for number, length in enumerate(lengths):
        wanted = count // len(lengths) + (number < count % len(lengths))
        rows = _tokens(_Words(tokenizer, known, random), length, wanted)
        if rows:
            groups.append({spec.name: _values(spec, rows) for spec in inputs})
    return groups


def _values(spec: TensorSpec, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return one input of texts of one length: (texts, length), or (texts, 1) for the length of a prompt."""
    import numpy as np

    if spec.name == PROMPT:
        return np.zeros((len(rows), 1), spec.dtype)
    usual = {MASK: lambda row: [1] * len(row[IDS]), KINDS: lambda row: [0] * len(row[IDS])}
    name = IDS if spec.name == DECODED else spec.name
    return np.array([row[name] if name in row else usual[name](row) for row in rows], spec.dtype)


@dataclass(frozen=True)
class _Words:
    """A tokenizer, the last word that the model knows, and the numbers that choose texts."""

    tokenizer: Any
    last: float
    random: Any


def _tokens(words: _Words, length: int, count: int) -> list[dict[str, Any]]:
    """Return up to ``count`` different texts of a number of tokens; the tokenizer puts its special ones in."""
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    for draw in (_prose, _common):
        for _ in range(ROUNDS):
            for text in draw(words, 2 * count, length) if count > len(found) else ():
                row = dict(words.tokenizer(text, truncation=True, max_length=length))
                if len(row[IDS]) == length and _is_known(words, row[IDS]):
                    found.setdefault(tuple(row[IDS]), row)
    return list(found.values())[:count]


def _is_known(words: _Words, ids: Sequence[int]) -> bool:
    unknown = words.tokenizer.unk_token_id
    foreign = 0 if unknown is None else list(ids).count(unknown)
    return foreign <= MOST_UNKNOWN * len(ids) and max(ids) <= words.last


def _prose(words: _Words, count: int, length: int) -> Iterator[str]:
    """Yield pieces of Python's own documentation, which is here on every machine: each begins with a paragraph."""
    paragraphs = _paragraphs()
    for start in words.random.integers(0, max(1, len(paragraphs) - length), count) if paragraphs else ():
        yield " ".join(paragraphs[start : start + 1 + length // 16])


def _paragraphs() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some systems package it apart
        return []
    return [
        " ".join(paragraph.split())
        for topic in topics.values()
        for paragraph in topic.split("\n\n")
        if len(paragraph) >= PROSE and not paragraph[0].isspace()
    ]


def _common(words: _Words, count: int, length: int) -> Iterator[str]:
    """Yield texts of pieces of the vocabulary, which begins with those that are most common."""
    import numpy as np

    special = set(words.tokenizer.all_special_ids)
    every = sorted(words.tokenizer.get_vocab().values())
    ids = [number for number in every if number not in special and number <= words.last]
    weights = 1 / (np.arange(len(ids)) + FLAT_RANKS)
    for _ in range(count if ids else 0):
        chosen = words.random.choice(ids, 2 * length, p=weights / weights.sum())
        yield words.tokenizer.decode(chosen, skip_special_tokens=True)
