"""The behaviours of encoders: each known category, an unknown one, a missing value, and each known word."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array

# The most categories, or words, of a node that are behaviours of their own, spread over all.
MOST = 512


def known(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the keys or categories of an encoder of ai.onnx.ml, by its attributes."""
    names = ("keys_strings", "keys_int64s", "keys_floats", "cats_strings", "cats_int64s")
    found: list[Any] = next((attributes[name] for name in names if attributes.get(name) is not None), [])
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in found]
    return texts[:: max(1, len(texts) // MOST)][:MOST]


def names(attributes: Mapping[str, Any]) -> Sequence[str]:
    """Return a behaviour for each known category, and for an unknown one."""
    return (*(f"the category {each!r}" for each in known(attributes)), "an unknown category")


def seen(attributes: Mapping[str, Any], operands: Sequence[Any]) -> "Array | None":
    """Return which categories were among the values, and whether an unknown one was."""
    categories = known(attributes)
    if not categories:
        return None
    values = operands[0].ravel()
    asked = {str(each) for each in values} if values.dtype == object else set(values.tolist())
    found = [each in asked for each in categories]
    return np.array([*found, bool(asked - set(categories))])


def imputer_names(attributes: Mapping[str, Any]) -> Sequence[str]:
    """Return the behaviours of an imputer."""
    return ("a missing value", "a value")


def imputed(attributes: Mapping[str, Any], operands: Sequence[Any]) -> Sequence[bool]:
    """Return whether values were missing, and whether some were not."""
    stands = attributes.get("replaced_value_float", attributes.get("replaced_value_int64", 0))
    values = operands[0]
    missing = np.isnan(values) if values.dtype.kind == "f" and np.isnan(stands) else values == stands
    return [bool(missing.any()), bool((~missing).any())]


def grams(attributes: Mapping[str, Any], operands: Sequence[Any]) -> "Array | None":
    """Return which words of a vectorizer's vocabulary were among the tokens, and whether unknown ones were."""
    words = _words(attributes)
    if words is None:
        return None
    tokens = {str(each) for each in operands[0].ravel()}
    return np.array([*(word in tokens for word in words), bool(tokens - set(words))])


def gram_names(attributes: Mapping[str, Any]) -> Sequence[str]:
    """Return a behaviour for each word of a vectorizer's vocabulary, and for an unknown one."""
    return (*(f"the word {word!r}" for word in _words(attributes) or ()), "an unknown word")


def _words(attributes: Mapping[str, Any]) -> list[str] | None:
    pool = attributes.get("pool_strings")
    if pool is None:
        return None
    words = list(dict.fromkeys(each.decode("utf-8", "replace") for each in pool))
    return words[:: max(1, len(words) // MOST)][:MOST]
