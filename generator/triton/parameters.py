"""Values of ``parameters`` in a configuration, as the C++ backends read their text."""

import re

# backend/src/backend_common.cc: ParseBoolValue, and ParseIntValue with C++'s stoi.
# Its isspace and isdigit know ASCII alone.
BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
WHOLE = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")


MOST_DIGITS = 10


def boolean(text: str) -> bool | None:
    """Return a truth value; None if the backends refuse the text."""
    return BOOLEANS.get(text.lower())


def too_large_number(text: str) -> bool:
    """Whether a text begins with a number that C++'s int does not hold: no backend catches stoi's std::out_of_range."""
    return whole(text) is None and WHOLE.match(text) is not None


def whole(text: str) -> int | None:
    """Return the whole number that a text begins with, which is all that they look at; None if it has none."""
    found = WHOLE.match(text)
    digits = found[1].lstrip("+-").lstrip("0") if found else ""
    if not found or len(digits) > MOST_DIGITS:
        return None
    number = int(digits or "0") * (-1 if found[1].startswith("-") else 1)
    return number if -(2**31) <= number < 2**31 else None
