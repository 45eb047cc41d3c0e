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
        spaces = bool(set(_letters(_any(items, codes), flags, False)) & set(" "))
        if len(items) == 1 and items[0][0] is codes.MAX_REPEAT and items[0][1][1] is codes.MAXREPEAT:
            low, _, inner = items[0][1]
            if len(inner) == 1 and inner[0][0] in (codes.IN, codes.LITERAL):
                return Tokens(_run(low, _source(inner, codes), flags, lowercase), spaces)
        return Tokens(_sequence(items, flags, lowercase, pattern), spaces)
    if edges != [0, len(items) - 1]:
        raise _refused(pattern, r"it has \b elsewhere than at both ends")
    inner = items[1:-1]
    words = _letters(r"\w", flags & re.ASCII, False)
    if not _within(inner, flags, set(words), codes):
        raise _refused(pattern, r"it has \b, and other characters than those of words")
    least = _whole_words(inner, flags, words, codes)
    return Tokens(_run(max(1, least or 1), r"\w", flags & re.ASCII, lowercase), filtered=least is None)


def _refused(pattern: str, reason: str) -> ConversionError:
    return ConversionError(f"can't convert the token_pattern {pattern!r}: {reason}", HINT)


def _run(least: int, expression: str, flags: int, lowercase: bool) -> str:
    """Return the expression for runs of at least so many letters of a class.

    In lower case a dotted capital I ends one, unless the dot is in the class as well.
    """
    letters = _letters(expression, flags, lowercase)
    in_class = set(_letters(expression, flags, False))
    ends = lowercase and "i" in in_class and DOT_ABOVE not in in_class
    last = _class([*letters, DOTTED_I]) if ends else _class(letters)
    return f"{_class(letters)}{{{least - 1},}}{last}"


def _whole_words(items: Sequence[Any], flags: int, words: Sequence[str], codes: Any) -> int | None:
    """Return how many letters a word has at least, if each item takes any letter and any number follows; else None."""
    least, unlimited = 0, False
    for code, argument in items:
        if code is codes.MAX_REPEAT and len(argument[2]) == 1:
            low, high, (inner,) = argument
            unlimited = unlimited or high is codes.MAXREPEAT
        else:
            low, inner = 1, (code, argument)
        if inner[0] not in (codes.IN, codes.LITERAL) or list(_letters(_source([inner], codes), flags, False)) != list(
            words
        ):
            return None
        least += low
    return least if unlimited else None


def _within(items: Iterable[Any], flags: int, words: set[str], codes: Any) -> bool:
    """Whether all characters that items match are those of words."""
    return all(set(_letters(each, flags, False)) <= words for each in _classes(items, codes))


def _any(items: Iterable[Any], codes: Any) -> str:
    return "|".join(_classes(items, codes))


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
def _characters(lowercase: bool) -> str:
    """Return every character, or the lower case of each at the same place: one of two characters becomes a NUL."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    if not lowercase:
        return "".join(every)
    lower = [each.lower() for each in every]
    return "".join(each if len(each) == 1 else "\0" for each in lower)


@cache
def _letters(expression: str, flags: int, lowercase: bool) -> tuple[str, ...]:
    """Return the characters of a class, or those whose lower case is in it."""
    every = _characters(False)
    found = re.finditer(expression, _characters(lowercase), flags)
    return tuple(every[match.start()] for match in found if not lowercase or every[match.start()] != DOTTED_I)


def _class(characters: Sequence[str]) -> str:
    """Return a class of RE2 with exactly these characters, as ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, set(characters))):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    if not ranges:
        return r"[^\x00-\x{10FFFF}]"
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"
