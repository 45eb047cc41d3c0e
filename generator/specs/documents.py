"""Checks of JSON documents before they become data."""

from collections.abc import Mapping
from typing import Any


def check_kinds(document: Mapping[str, Any], **kinds: type | tuple[type, ...]) -> None:
    """Raise TypeError if a value in the document has a different type; missing values are not checked."""
    for name, kind in kinds.items():
        if name in document and not isinstance(document[name], kind):
            raise TypeError(f"{name} is {document[name]!r}")
