"""Python's regular expressions for tokens, translated to RE2, which ONNX Runtime's Tokenizer has.

RE2's classes are ASCII where Python's are Unicode (microsoft/onnxruntime#4201, onnx/sklearn-onnx#1175): each class is
written out as the ranges of characters that Python's own `re` finds in it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from modelrepo.generator.errors import ConversionError

# The only letter whose lower case is two characters, of which the second is not a word character.
DOTTED_I, DOT_ABOVE = "\u0130", "\u0307"
HINT = r"Fit with a token_pattern of classes and repetitions, such as (?u)\b\w\w+\b or \S+"


@dataclass(frozen=True)
class Tokens:
    """A regular expression of RE2 for the tokens of a text before it is lower case."""

    expression: str
    spaces: bool = False  # a token may hold a blank
    # Whether it finds whole words, of which only those that the pattern matches in full are tokens.
    filtered: bool = False


def tokens_of(pattern: str, lowercase: bool) -> Tokens:
    """Return the expression that finds the tokens of ``pattern`` in any text; ConversionError if RE2 has none.

    With ``lowercase`` it finds, in the text itself, what the pattern finds in its lower case.
    """
    from re import _constants as codes  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]

    tree = parser.parse(pattern)
    flags = tree.state.flags & (re.ASCII | re.IGNORECASE | re.DOTALL)
    items = list(tree)
    boundary = (codes.AT, codes.AT_BOUNDARY)
    edges = [place for place, item in enumerate(items) if item == boundary]
    if tree.state.groups > 1:
        raise _refused(pattern, "it has a group, whose part of a token is taken")
    if tree.getwidth()[0] == 0:
        raise _refused(pattern, "it also matches nothing")
    if not edges:
        if not _same_if_longest(items, flags, _letters("(?!)", 0, False), codes):
            raise _refused(pattern, "ONNX Runtime takes the longest match, and Python may take another")
        spaces = any(_letters(each, flags, False)[ord(" ")] for each in _classes(items, codes))
        return Tokens(_sequence(items, flags, lowercase, pattern), spaces)
    if edges != [0, len(items) - 1]:
        raise _refused(pattern, r"it has \b elsewhere than at both ends")
    inner = items[1:-1]
    words = _letters(r"\w", flags & re.ASCII, False)
    if not _within(inner, flags, words, codes):
        raise _refused(pattern, r"it has \b, and other characters than those of words")
    least = _whole_words(inner, flags, words, codes)
    return Tokens(_run(max(1, least or 1), r"\w", flags & re.ASCII, lowercase), filtered=least is None)


def _refused(pattern: str, reason: str) -> ConversionError:
    return ConversionError(f"can't convert the token_pattern {pattern!r}: {reason}", HINT)


def _run(least: int, expression: str, flags: int, lowercase: bool) -> str:
    """Return the expression for runs of at least so many letters of a class.

    In lower case a dotted capital I ends one, unless the dot is in the class as well.
    """
    letters, in_class = (_letters(expression, flags, each) for each in (lowercase, False))
    last = letters.copy()
    last[ord(DOTTED_I)] |= lowercase and in_class[ord("i")] and not in_class[ord(DOT_ABOVE)]
    return f"{_class(letters)}{{{least - 1},}}{_class(last)}"


def _whole_words(items: Sequence[Any], flags: int, words: Any, codes: Any) -> int | None:
    """Return how many letters a word has at least, if each item takes any letter and any number follows; else None."""
    least, unlimited = 0, False
    for code, argument in items:
        if code is codes.MAX_REPEAT and len(argument[2]) == 1:
            low, high, (inner,) = argument
            unlimited = unlimited or high is codes.MAXREPEAT
        else:
            low, inner = 1, (code, argument)
        if inner[0] not in (codes.IN, codes.LITERAL):
            return None
        if (_letters(_source([inner], codes), flags, False) != words).any():
            return None
        least += low
    return least if unlimited else None


def _within(items: Iterable[Any], flags: int, words: Any, codes: Any) -> bool:
    """Whether all characters that items match are those of words."""
    return not any((_letters(each, flags, False) & ~words).any() for each in _classes(items, codes))


def _same_if_longest(items: Sequence[Any], flags: int, follow: Any, codes: Any) -> bool:
    """Whether the longest match is Python's: no character could both go on within an item and begin what follows.

    ONNX Runtime's Tokenizer lets RE2 find the longest match. ``follow`` has the characters that may come after.
    """
    for place, (code, argument) in enumerate(items):
        behind, skipped = _first(items[place + 1 :], flags, codes)
        after = behind | follow if skipped else behind
        if code is codes.MIN_REPEAT:
            return False
        if code is codes.MAX_REPEAT:
            low, high, inner = argument
            start, nothing = _first(inner, flags, codes)
            simple = len(inner) == 1 and inner[0][0] in (codes.IN, codes.LITERAL, codes.NOT_LITERAL, codes.ANY)
            within = high is codes.MAXREPEAT and _within(items[place + 1 :], flags, start, codes) and not follow.any()
            clear = low == high or not (start & after).any() or within
            if nothing or not ((simple and clear) or (clear and _same_if_longest(inner, flags, start | after, codes))):
                return False
        elif code is codes.SUBPATTERN and not _same_if_longest(argument[3], flags, after, codes):
            return False
        elif code is codes.BRANCH:
            starts = [_first(branch, flags, codes) for branch in argument[1]]
            if any(nothing for _, nothing in starts) or sum(start.astype(int) for start, _ in starts).max() > 1:
                return False
            if not all(_same_if_longest(branch, flags, after, codes) for branch in argument[1]):
                return False
    return True


def _first(items: Iterable[Any], flags: int, codes: Any) -> tuple[Any, bool]:
    """Return which characters a match of items may begin with, and whether they also match nothing."""
    found = _letters("(?!)", 0, False)
    for code, argument in items:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            start, nothing = _first(argument[2], flags, codes)
            nothing = nothing or argument[0] == 0
        elif code is codes.SUBPATTERN:
            start, nothing = _first(argument[3], flags, codes)
        elif code is codes.BRANCH:
            each = [_first(branch, flags, codes) for branch in argument[1]]
            start, nothing = sum(start.astype(int) for start, _ in each) > 0, any(nothing for _, nothing in each)
        elif code in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            start, nothing = _letters(_source([(code, argument)], codes), flags, False), False
        else:
            start, nothing = found, True
        found = found | start
        if not nothing:
            return found, False
    return found, True


def _classes(items: Iterable[Any], codes: Any) -> list[str]:
    """Return the classes of characters that items consist of, each as an expression of Python."""
    found: list[str] = []
    for code, argument in items:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            found += _classes(argument[2], codes)
        elif code is codes.SUBPATTERN:
            found += _classes(argument[3], codes)
        elif code is codes.BRANCH:
            found += [each for branch in argument[1] for each in _classes(branch, codes)]
        elif code in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            found.append(_source([(code, argument)], codes))
    return found or [r"(?!)"]


CATEGORIES = {"DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W"}


def _source(items: Iterable[Any], codes: Any) -> str:
    """Return the expression of Python for one class of characters."""
    ((code, argument),) = items
    if code is codes.ANY:
        return "."
    if code is codes.LITERAL:
        return f"[{_escaped(argument)}]"
    if code is codes.NOT_LITERAL:
        return f"[^{_escaped(argument)}]"
    parts = []
    for kind, value in argument:
        if kind is codes.NEGATE:
            parts.append("^")
        elif kind is codes.LITERAL:
            parts.append(_escaped(value))
        elif kind is codes.RANGE:
            parts.append(f"{_escaped(value[0])}-{_escaped(value[1])}")
        else:
            parts.append(CATEGORIES[str(value).removeprefix("CATEGORY_")])
    return f"[{''.join(parts)}]"


def _escaped(character: int) -> str:
    return f"\\U{character:08x}"


def _sequence(items: Iterable[Any], flags: int, lowercase: bool, pattern: str) -> str:
    """Return the expression of RE2 for a sequence."""
    from re import _constants as codes  # type: ignore[attr-defined]

    found = []
    for code, argument in items:
        if code in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            found.append(_class(_letters(_source([(code, argument)], codes), flags, lowercase)))
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            low, high, inner = argument
            if low and high is codes.MAXREPEAT and len(inner) == 1 and inner[0][0] in (codes.IN, codes.LITERAL):
                found.append(_run(low, _source(inner, codes), flags, lowercase))
                continue
            ends = f"{{{low},{'' if high is codes.MAXREPEAT else high}}}"
            lazy = "?" if code is codes.MIN_REPEAT else ""
            found.append(f"(?:{_sequence(inner, flags, lowercase, pattern)}){ends}{lazy}")
        elif code is codes.SUBPATTERN and argument[1:3] == (0, 0):
            found.append(f"(?:{_sequence(argument[3], flags, lowercase, pattern)})")
        elif code is codes.BRANCH:
            branches = [_sequence(branch, flags, lowercase, pattern) for branch in argument[1]]
            found.append(f"(?:{'|'.join(branches)})")
        else:
            raise _refused(pattern, f"RE2 has no {str(code).lower().replace('_', ' ')}")
    return "".join(found)


@cache
def characters(lowercase: bool = False) -> str:
    """Return every character at the place of its code, or the lower case of each; NUL where that is two characters.

    Codes of surrogates, which no text holds, are NUL as well.
    """
    every = "".join("\0" if 0xD800 <= code < 0xE000 else chr(code) for code in range(0x110000))
    return every.replace(DOTTED_I, "\0").lower() if lowercase else every


@cache
def _letters(expression: str, flags: int, lowercase: bool) -> Any:
    """Return by code which characters are in a class, or which have their lower case in it: bool (0x110000,)."""
    import numpy as np

    found = np.zeros(0x110000, bool)
    for match in re.finditer(f"(?:{expression})+", characters(lowercase), flags):
        found[slice(*match.span())] = True
    found[0xD800:0xE000] = False
    if lowercase:
        found[ord(DOTTED_I)] = False
    return found


def _class(letters: Any) -> str:
    """Return a class of RE2 with exactly these characters, as ranges."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate([[False], letters, [False]]).astype(np.int8)))
    if not len(edges):
        return r"[^\x00-\x{10FFFF}]"
    ranges = zip(edges[::2], edges[1::2], strict=True)
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{end - 1:x}}}" for low, end in ranges) + "]"
