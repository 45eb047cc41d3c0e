"""How a folder's own library makes a model's inputs of texts, proven on texts in many scripts: `--with-preprocessing`.

The tokenizer is the one that transformers has built, which may differ from the file ``tokenizer.json``: it rebuilds
those of its older classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import sentences, texts
from modelrepo.generator.sources.hf.hub import HF
from modelrepo.generator.sources.hf.texts import IDS, KINDS, MASK, PROMPT
from modelrepo.generator.specs.preparation import Preparation, Tokenizing
from modelrepo.generator.specs.tensors import TensorSpec
from modelrepo.generator.system.extras import need

FLAG = "--with-preprocessing"
WITHOUT = f"Leave {FLAG} out, and let clients send tokens"
# The name of the input that takes texts.
TEXT = "text"
# What a model assumes for an input that its tokenizer doesn't give, for each token.
ASSUMED = {MASK: 1, KINDS: 0}
# How the files of tokenizers begin.
TOKENIZERS = ("tokenizer", "vocab", "spiece", "sentencepiece", "spm")
# The endings of architectures that take pairs of texts, and the keys in configurations of CrossEncoder.
OF_PAIRS = ("ForQuestionAnswering", "ForNextSentencePrediction", "ForMultipleChoice")
CROSS_ENCODERS = ("sentence_transformers", "sbert_ce_default_activation_function")
# Settings with which sentence-transformers calls a tokenizer differently.
CALLING = ("processing_kwargs", "processor_kwargs", "tokenizer_args", "tokenizer_kwargs")


def preparation(home: Path, reference: str, inputs: Sequence[TensorSpec], positions: int | None) -> Preparation:
    """Return how transformers prepares texts for a model with ``inputs`` and as many ``positions``.

    Texts are cut as the tokenizer says; a text that is then still too long for the model is refused. Raises OptionError
    for a model that takes more than a text, and for a tokenizer that the library tokenizers does not have.
    """
    tokenizer = _tokenizer(home, reference, inputs)
    return _prepared(tokenizer, _settings(tokenizer, inputs, _limit(tokenizer), positions))


def of_sentences(
    found: sentences.Sentences, reference: str, inputs: Sequence[TensorSpec], positions: int | None
) -> Preparation:
    """Return how sentence-transformers prepares texts for a model; OptionError as that of ``preparation``.

    It cuts texts as its settings say, or else to the model's positions.
    """
    for key in CALLING:
        if found.settings.get(key):
            raise OptionError(f"{FLAG}: {reference} has the setting {key}, which is not supported", WITHOUT)
    tokenizer = _tokenizer(found.home, reference, inputs)
    if found.settings.get("do_lower_case"):
        _lower(tokenizer.backend_tokenizer)
    named = found.prompts.get("prompts") or {}
    prefix = str(named.get(found.prompts.get("default_prompt_name")) or "")
    asked = found.settings.get("max_seq_length")
    longest = asked or min(filter(None, (_limit(tokenizer), positions)), default=None)
    settings = replace(_settings(tokenizer, inputs, longest, positions), prefix=prefix)
    if not found.excludes_prompts:
        return _prepared(tokenizer, settings)
    (dtype,) = (spec.dtype for spec in inputs if spec.name == PROMPT)
    length = _prompt_length(tokenizer, settings) if settings.prefix else 0
    return _prepared(tokenizer, replace(settings, numbers={PROMPT: (length, dtype)}))


def _limit(tokenizer: Any) -> int | None:
    """Return the number of tokens that a tokenizer cuts texts to; None if it has no limit."""
    own = tokenizer.model_max_length
    return int(own) if own < sentences.ANY_LENGTH else None


def takes_texts(folder: Path) -> bool:
    """Whether the files of a folder prepare texts, and neither pictures nor sounds."""
    home = sentences.home(folder)
    names = {file.name for each in (folder, home) for file in folders.companions(each)}
    return any(name.startswith(TOKENIZERS) for name in names) and not any("processor" in name for name in names)


def of_folder(folder: Path, reference: str, inputs: Sequence[TensorSpec], *, whole: bool) -> Preparation:
    """Return how texts are prepared for the model of a folder that is served already, with ``inputs``.

    ``whole``: it is served with the modules of sentence-transformers. Raises as ``preparation`` does, and SourceError
    for a folder that can't be read.
    """
    home = sentences.home(folder)
    _refuse_pairs(folder, folders.document(home / folders.CONFIG), reference)
    found = sentences.read(folder, "") if whole else None
    positions = _positions(home)
    if found is None:
        return preparation(home, reference, inputs, positions)
    return of_sentences(found, reference, inputs, positions)


def _refuse_pairs(folder: Path, config: Mapping[str, Any], reference: str) -> None:
    """Raise OptionError for a model whose library asks it with pairs of texts, such as a question and its context."""
    settings = folders.document(folder / sentences.SETTINGS)
    pairs = settings.get("model_type") == sentences.CROSS_ENCODER or any(key in config for key in CROSS_ENCODERS)
    named = [str(each) for each in config.get("architectures") or () if str(each).endswith(OF_PAIRS)]
    if pairs or named:
        what = named[0] if named else sentences.CROSS_ENCODER
        raise OptionError(f"{FLAG} can't prepare the texts of {reference}: a {what} takes pairs of texts", WITHOUT)


def _positions(home: Path) -> int | None:
    """Return the number of tokens that the model of a folder has positions for at most; None if nothing limits it."""
    if not (home / folders.CONFIG).is_file():
        return None
    try:
        config = need("transformers", HF).AutoConfig.from_pretrained(home, local_files_only=True)
    except (ValueError, KeyError, OSError):  # a model with code of its own, whose limits are its own, too
        return None
    own = getattr(config.get_text_config(decoder=False), "max_position_embeddings", None)
    return own if isinstance(own, int) and own > 0 else None  # XLNet's is -1


def _tokenizer(home: Path, reference: str, inputs: Sequence[TensorSpec]) -> Any:
    """Return the tokenizer of a folder if it can be served; OptionError with the reason if it can't."""
    names = [spec.name for spec in inputs]
    more = [name for name in names if name not in (IDS, MASK, KINDS, PROMPT)]
    if IDS not in names:
        raise OptionError(f"{FLAG} has no effect on {reference}: it takes {', '.join(names)}, not texts", WITHOUT)
    if more or any(len(spec.shape) != 2 for spec in inputs):
        what = f"{', '.join(more)} beside texts" if more else f"{inputs[0]}, more than one text"
        raise OptionError(f"{FLAG} can't prepare the inputs of {reference}: it takes {what}", WITHOUT)
    tokenizer = texts.tokenizer(home)
    if tokenizer is None:
        raise OptionError(
            f"{FLAG}: {reference} has no tokenizer that transformers can read",
            f"Put the tokenizer's files into {home}, or leave {FLAG} out",
        )
    if not tokenizer.is_fast:
        raise OptionError(
            f"{FLAG}: the tokenizer of {reference} ({type(tokenizer).__name__}) is Python code of transformers", WITHOUT
        )
    return tokenizer


def _settings(tokenizer: Any, inputs: Sequence[TensorSpec], longest: int | None, positions: int | None) -> Tokenizing:
    """Return a tokenizer with the settings with which transformers calls it."""
    given = texts.given(tokenizer)
    (fixed,) = (spec.shape[1] if isinstance(spec.shape[1], int) else None for spec in inputs if spec.name == IDS)
    return Tokenizing(
        _as_json(tokenizer),
        given={spec.name: spec.dtype for spec in inputs if spec.name in given},
        constant={
            spec.name: (ASSUMED[spec.name], spec.dtype)
            for spec in inputs
            if spec.name in ASSUMED and spec.name not in given
        },
        longest=min(filter(None, (longest, fixed)), default=None),
        most=positions,
        fixed=fixed,
        truncation_side=tokenizer.truncation_side,
        padding_side=tokenizer.padding_side,
        padding_id=None if tokenizer.pad_token is None else tokenizer.pad_token_id,
        padding_type=tokenizer.pad_token_type_id,
        split_special=bool(tokenizer.split_special_tokens),
    )


def _lower(backend: Any) -> None:
    """Let a tokenizer write texts in small letters first, unless it does: as sentence-transformers 6 does it."""
    from tokenizers.normalizers import Lowercase
    from tokenizers.normalizers import Sequence as Several

    own: Any = backend.normalizer
    several = [own[at] for at in range(len(own))] if isinstance(own, Several) else [own] if own is not None else []
    if not any(isinstance(each, Lowercase) for each in several):
        backend.normalizer = Several([Lowercase(), *several])


def _as_json(tokenizer: Any) -> str:
    """Return the tokenizer that transformers has built, without padding and cutting: those are settings."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    return str(plain.to_str())


def _prepared(tokenizer: Any, settings: Tokenizing) -> Preparation:
    return Preparation("text", TEXT, own=_own(tokenizer, settings), steps=(settings,))


def _own(tokenizer: Any, settings: Tokenizing) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    """Return the call of the library itself, from a list of texts to the model's inputs by name."""
    import numpy as np

    def call(given: Sequence[str]) -> Mapping[str, Any]:
        padding = "max_length" if settings.fixed else settings.padding_id is not None
        cut = {"truncation": True, "max_length": settings.longest} if settings.longest else {}
        found = tokenizer([settings.prefix + text for text in given], padding=padding, **cut)
        lengths = {len(row) for row in found[IDS]}
        if len(lengths) > 1:
            raise ValueError("the tokenizer has no token for padding")
        shape = (len(given), *lengths)
        answer = {name: np.array(found[name], dtype).reshape(shape) for name, dtype in settings.given.items()}
        answer |= {name: np.full(shape, value, dtype) for name, (value, dtype) in settings.constant.items()}
        return answer | {
            name: np.full((len(given), 1), value, dtype) for name, (value, dtype) in settings.numbers.items()
        }

    return call


def _prompt_length(tokenizer: Any, settings: Tokenizing) -> int:
    """Return the tokens of a prompt without an ending one, as sentence-transformers counts them."""
    ids = tokenizer(settings.prefix)[IDS]
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids)
