"""Tokenizers of ten kinds, trained here on the corpus: WordPiece, BPE of characters and of bytes, Unigram."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from modelrepo.generator.verification.corpus import TEXTS

WORDS = 700
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
OF_BERT = dict(zip(("pad", "unk", "cls", "sep", "mask"), BERT, strict=True))
OF_ROBERTA = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>"}


def _between(tokenizer: Tokenizer, first: str, last: str) -> None:
    known = [(each, tokenizer.token_to_id(each)) for each in (first, last) if each]
    single = " ".join(f"{each}:0" for each in (first, "$A", last) if each)
    pair = " ".join(f"{each}" for each in (single, "$B:1", f"{last}:1" if last else "") if each)
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=known)


def _trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator([text for text in TEXTS if len(text) < 1000], trainer)
    return tokenizer


def bert_uncased() -> tuple[Tokenizer, dict[str, Any]]:
    """WordPiece with BERT's normalizer, rebuilt by transformers' own class."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=BERT, show_progress=False))
    _between(tokenizer, "[CLS]", "[SEP]")
    return tokenizer, {**OF_BERT, "class": "BertTokenizer", "model_max_length": 128}


def bert_cased() -> tuple[Tokenizer, dict[str, Any]]:
    """WordPiece that keeps case and accents, and joins Chinese characters; texts are cut on the left."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False, handle_chinese_chars=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=BERT, show_progress=False))
    _between(tokenizer, "[CLS]", "[SEP]")
    return tokenizer, {**OF_BERT, "truncation_side": "left", "model_max_length": 64}


def added_tokens() -> tuple[Tokenizer, dict[str, Any]]:
    """WordPiece with added tokens of every kind, padded on the left, with padding and cutting in tokenizer.json."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=BERT, show_progress=False))
    tokenizer.add_tokens(
        [
            AddedToken("iphone", single_word=True),
            AddedToken("GPT", lstrip=True, rstrip=True, normalized=False),
            AddedToken("word word", normalized=True),
        ]
    )
    _between(tokenizer, "[CLS]", "[SEP]")
    tokenizer.enable_truncation(100)
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="[PAD]", pad_type_id=1)
    return tokenizer, {**OF_BERT, "model_max_length": 100}


def gpt2() -> tuple[Tokenizer, dict[str, Any]]:
    """BPE of bytes without special tokens around a text, and without one for padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _trained(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=WORDS, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer, {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "class": "GPT2Tokenizer"}


def roberta() -> tuple[Tokenizer, dict[str, Any]]:
    """BPE of bytes with RoBERTa's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=WORDS, special_tokens=ROBERTA, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer, {**OF_ROBERTA, "mask": "<mask>", "class": "RobertaTokenizer", "model_max_length": 128}


def qwen() -> tuple[Tokenizer, dict[str, Any]]:
    """BPE of bytes behind NFC and a regular expression, padded on the left."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return tokenizer, {"eos": "<|im_end|>", "pad": "<|endoftext|>", "padding_side": "left", "model_max_length": 200}


def clip() -> tuple[Tokenizer, dict[str, Any]]:
    """BPE of bytes with ends of words, in small letters, as CLIP has it."""
    special = ["<|startoftext|>", "<|endoftext|>"]
    model = models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=special[1])
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=special,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    _trained(tokenizer, trainer)
    _between(tokenizer, *special)
    return tokenizer, {
        **{"bos": special[0], "eos": special[1], "pad": special[1], "unk": special[1]},
        "model_max_length": 77,
    }


def llama() -> tuple[Tokenizer, dict[str, Any]]:
    """BPE of characters with bytes for unknown ones, and spaces as marks."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=special, limit_alphabet=100, max_token_length=12, show_progress=False
    )
    _trained(tokenizer, trainer)
    _between(tokenizer, "<s>", "")
    return tokenizer, {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "</s>", "model_max_length": 256}


def xlm_roberta() -> tuple[Tokenizer, dict[str, Any]]:
    """Unigram behind NFKC and spaces as marks, with special tokens at both ends."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS, special_tokens=ROBERTA, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    _trained(tokenizer, trainer)
    _between(tokenizer, "<s>", "</s>")
    return tokenizer, {**OF_ROBERTA, "mask": "<mask>", "model_max_length": 128}


def t5() -> tuple[Tokenizer, dict[str, Any]]:
    """Unigram with one token at the end, and rows of extra tokens."""
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(3))]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    _trained(tokenizer, trainer)
    _between(tokenizer, "", "</s>")
    return tokenizer, {"eos": "</s>", "pad": "<pad>", "unk": "<unk>", "class": "T5Tokenizer", "model_max_length": 90}


def albert() -> tuple[Tokenizer, dict[str, Any]]:
    """Unigram in small letters without accents."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    _trained(tokenizer, trainer)
    _between(tokenizer, "[CLS]", "[SEP]")
    return tokenizer, {**OF_BERT, "pad": "<pad>", "unk": "<unk>", "model_max_length": 512}


KINDS: dict[str, Callable[[], tuple[Tokenizer, dict[str, Any]]]] = {
    each.__name__: each
    for each in (bert_uncased, bert_cased, added_tokens, gpt2, roberta, qwen, clip, llama, xlm_roberta, t5, albert)
}


def save(kind: str, folder: Path) -> Any:
    """Save a tokenizer in a folder as transformers does, and return it as transformers reads it."""
    tokenizer, settings = KINDS[kind]()
    named = settings.pop("class", "")
    tokens = {f"{name}_token": token for name, token in settings.items() if isinstance(token, str) and "_" not in name}
    sides = {name: value for name, value in settings.items() if "_" in name}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens, **sides).save_pretrained(folder)
    if named:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": named}))
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
