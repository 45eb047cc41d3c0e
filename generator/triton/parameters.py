"""Values of ``parameters`` in a configuration, as the C++ backends read their text."""

import re

# backend/src/backend_common.cc: ParseBoolValue, and ParseIntValue with C++'s stoi.
BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
WHOLE = re.compile(r"\s*([+-]?\d+)")


def boolean(text: str) -> bool | None:
    """Return a truth value; None if the backends refuse the text."""
    return BOOLEANS.get(text.lower())


def whole(text: str) -> int | None:
    """Return the whole number that a text begins with, which is all that they look at; None if it has none."""
    found = WHOLE.match(text)
    return int(found[1]) if found and len(found[1]) < 12 and -(2**31) <= int(found[1]) < 2**31 else None
