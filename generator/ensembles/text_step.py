"""Texts to tokens as a model's own tokenizer makes them, for the requests of a server.

A copy of this file lies beside the ``model.py`` of every tokenize step, with the tokenizer and its settings in two
files. It needs numpy and tokenizers, and nothing of modelrepo.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

TOKENIZER, SETTINGS = "tokenizer.json", "tokens.json"
# What a tokenizer gives for a text: the attribute of an encoding, by the name of a model's input.
GIVEN = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class TextError(Exception):
    """Texts that can't become tokens; the message is one line for the client."""


class Tokens:
    """The tokenizer of a folder, with its settings: those of ``Tokenizing`` in ``specs/preparation.py``."""

    def __init__(self, folder: Path) -> None:
        self.settings: Mapping[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        self.tokenizer.encode_special_tokens = self.settings["split_special"]
        self.tokenizer.no_padding()  # each request is padded to its own longest text
        if self.settings["longest"]:
            side = self.settings["truncation_side"]
            self.tokenizer.enable_truncation(self.settings["longest"], direction=side)
        else:
            self.tokenizer.no_truncation()

    def answer_all(self, requests: Sequence[Any]) -> "list[dict[str, Any] | TextError]":
        """Return each request's inputs of the model, or its error: one that fails leaves the others alone.

        A request is an array of UTF-8 bytes, (texts, 1) or (1,); the inputs are (texts, tokens), as long as the longest
        text of the request.
        """
        texts = [self._read(request) for request in requests]
        known = [text for each in texts if not isinstance(each, TextError) for text in each]
        encodings = iter(self.tokenizer.encode_batch(known) if known else ())
        return [
            each if isinstance(each, TextError) else self._padded([next(encodings) for _ in each]) for each in texts
        ]

    def _read(self, request: Any) -> "list[str] | TextError":
        """Return the texts of a request, each behind the prefix."""
        texts = []
        for number, item in enumerate(np.ravel(request), 1):
            try:
                text = item if isinstance(item, str) else bytes(item).decode()
            except UnicodeDecodeError as error:
                return TextError(f"text {number} of the request is not UTF-8: byte {error.start} can't be read")
            texts.append(self.settings["prefix"] + text)
        return texts

    def _padded(self, encodings: Sequence[Any]) -> "dict[str, Any] | TextError":
        """Return the inputs of texts, padded to the longest of them, or to the length that the model takes."""
        sizes = [len(each.ids) for each in encodings]
        lengths = set(sizes)
        most = self.settings["most"] or max(sizes, default=0)
        if sizes and max(sizes) > most:
            number = 1 + sizes.index(max(sizes))
            return TextError(f"text {number} of the request has {max(sizes)} tokens, and the model takes {most}")
        longest = self.settings["fixed"] or max(lengths, default=0)
        if encodings and not longest:
            return TextError("the request has no tokens: its texts are empty for this tokenizer")
        if lengths - {longest} and self.settings["padding_id"] is None:
            said = ", ".join(map(str, sorted(lengths)))
            return TextError(
                f"the tokenizer has no token for padding, and the texts have {said} tokens: send each in a request"
            )
        fills = {"input_ids": self.settings["padding_id"] or 0, "token_type_ids": self.settings["padding_type"]}
        answer = {}
        for name, dtype in self.settings["given"].items():
            rows = np.full((len(encodings), longest), fills.get(name, 0), dtype)
            for row, encoding in zip(rows, encodings, strict=True):
                values = getattr(encoding, GIVEN[name])
                start = longest - len(values) if self.settings["padding_side"] == "left" else 0
                row[start : start + len(values)] = values
            answer[name] = rows
        for name, (value, dtype) in self.settings["constant"].items():
            answer[name] = np.full((len(encodings), longest), value, dtype)
        for name, (value, dtype) in self.settings["numbers"].items():
            answer[name] = np.full((len(encodings), 1), value, dtype)
        return answer
