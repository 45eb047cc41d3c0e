"""The names that torchvision and timm register, read from their source: importing them takes seconds."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# A function whose name becomes a model's, unless the decorator names another one.
BUILDER = re.compile(r'^@register_model(?:\((?:name="([^"]+)")?\))?\n.*?^def (\w+)', re.MULTILINE | re.DOTALL)


@cache
def names(package: str) -> frozenset[str]:
    """Return the names of the models that ``package`` registers; none if it is not installed."""
    found = find_spec(package)
    if found is None or not found.origin:
        return frozenset()
    texts = (file.read_text("utf-8") for file in (Path(found.origin).parent / "models").rglob("*.py"))
    return frozenset(own or function for text in texts for own, function in BUILDER.findall(text))
