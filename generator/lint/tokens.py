"""The tokens of protobuf's text format, as the parser in Triton's server reads them: protobuf for C++.

Its errors are worded and placed as that parser does (src/google/protobuf/io/tokenizer.cc); protobuf for Python differs.
"""

import re
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, cast

Kind: TypeAlias = Literal["identifier", "integer", "float", "string", "symbol", "end"]

# NUL is no control character here: it is what the tokenizer takes for the end of a string or a comment.
_SKIPPED = re.compile(r"(?:[ \t\r\n\v\f]+|#[^\n\0]*)*")
# Nearly all tokens: these need no second look.
_COMMON = re.compile(
    r"""(?P<identifier>[A-Za-z_][A-Za-z0-9_]*)|(?P<integer>(?:0|[1-9][0-9]*)(?![A-Za-z0-9_.]))|"""
    + r"""(?P<string>"[^"\\\n\0]*"|'[^'\\\n\0]*')|(?P<symbol>[][{}<>:;,])"""
)
_CONTROL = re.compile(r"[\x00-\x1f]")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEXADECIMAL = re.compile(r"0[xX]([0-9A-Fa-f]*)")
_OCTAL = re.compile(r"0(?=[0-9])[0-7]*")
_DECIMAL = re.compile(r"(?:\.[0-9]+|[0-9]+(\.[0-9]*)?)(?P<exponent>[eE][-+]?(?P<digits>[0-9]*))?[fF]?")
_LETTER = re.compile(r"[A-Za-z_]")
# What may stand between quotes up to the next quote, backslash or end.
_PLAIN = {quote: re.compile(rf"[^{quote}\\\n\0]*") for quote in ('"', "'")}
EIGHT_DIGITS = "Expected eight hex digits up to 10ffff for \\U escape sequence"
_ESCAPES = (
    (re.compile(r"[abfnrtv\\?'\"0-7]"), ""),
    (re.compile(r"x[0-9A-Fa-f]"), ""),
    (re.compile(r"x"), "Expected hex digits for escape sequence."),
    (re.compile(r"u[0-9A-Fa-f]{4}|U00[01][0-9A-Fa-f]{5}"), ""),
    (re.compile(r"u[0-9A-Fa-f]{0,3}"), "Expected four hex digits for \\u escape sequence."),
    (re.compile(r"U(?:0(?:0(?:[01][0-9A-Fa-f]{0,4})?)?)?"), EIGHT_DIGITS),
    (re.compile(r""), "Invalid escape sequence in string literal."),
)
TAB = 8  # columns between the tab stops of protobuf


class TextError(Exception):
    """What the parser says of a text, the offset at which it says it, and that of the word that it says it of.

    Protobuf has taken an unknown word when it refuses it: it names the place of what follows.
    """

    def __init__(self, reason: str, offset: int, word: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.word = offset if word is None else word


class Token(NamedTuple):
    """A token of a text: its kind, its characters, and where it begins and ends."""

    kind: Kind
    text: str
    begins: int
    ends: int


class Lines:
    """The lines of a text: from an offset to the line and column, both from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Return the line and column as an editor counts them: a column a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, place: tuple[int, int]) -> int:
        """Return the offset of a line and column."""
        line, column = place
        return self._starts[line - 1] + column - 1

    def protobuf_place(self, offset: int) -> tuple[int, int]:
        """Return the line and column as protobuf counts them: a column a byte, and tabs go to the next stop."""
        line, _ = self.place(offset)
        column = 0
        for byte in self._text[self._starts[line - 1] : offset].encode("utf-8", "surrogateescape"):
            column += TAB - column % TAB if byte == ord("\t") else 1
        return line, column + 1


class Tokenizer:
    """Tokens one after the other: ``current``, and ``ended``, the offset behind the one before it."""

    def __init__(self, text: str) -> None:
        """Stand before the first token; ``next`` reads it."""
        self.text = text
        self.ended = 0
        self.earlier = self.before = self.current = Token("symbol", "", 0, 0)

    def next(self) -> Token:
        """Return the current token, and go to the next. TextError if that is not a token."""
        self.earlier = self.before
        taken = self.before = self.current
        self.ended = taken.ends
        begins = _end(_SKIPPED, self.text, taken.ends)
        if found := _COMMON.match(self.text, begins):
            self.current = Token(cast(Kind, found.lastgroup), found[0], begins, found.end())
        else:
            self.current = self._token(begins)
        return taken

    def _token(self, begins: int) -> Token:
        text = self.text
        if begins == len(text):
            return Token("end", "", begins, begins)
        first = text[begins]
        kind, ends = self._measured(first, begins)
        return Token(kind, text[begins:ends], begins, ends)

    def _measured(self, first: str, begins: int) -> tuple[Kind, int]:
        text = self.text
        if _LETTER.match(first):
            return "identifier", _end(_IDENTIFIER, text, begins)
        if first in "0123456789":
            return self._number(begins)
        if first == "." and text[begins + 1 : begins + 2] in tuple("0123456789"):
            if self.before.kind == "identifier" and self.ended == begins:
                raise TextError("Need space between identifier and decimal point.", begins)
            return self._number(begins)
        if first in _PLAIN:
            return "string", self._string(first, begins)
        if _CONTROL.match(first):
            raise TextError("Invalid control characters encountered in text.", begins)
        if first > "\x7e":
            byte = first.encode("utf-8", "surrogateescape")[0]
            if byte > ord("\x7f"):
                raise TextError(f"Interpreting non ascii codepoint {byte}.", begins)
        return "symbol", begins + 1

    def _number(self, begins: int) -> tuple[Kind, int]:
        kind, ends = self._digits(begins)
        following = self.text[ends : ends + 1]
        if _LETTER.match(following):
            raise TextError("Need space between number and identifier.", ends)
        if following == "." and kind == "float":
            raise TextError("Already saw decimal point or exponent; can't have another one.", ends)
        if following == ".":
            raise TextError("Hex and octal numbers must be integers.", ends)
        return kind, ends

    def _digits(self, begins: int) -> tuple[Kind, int]:
        if found := _HEXADECIMAL.match(self.text, begins):
            if not found[1]:
                raise TextError('"0x" must be followed by hex digits.', found.end())
            return "integer", found.end()
        if found := _OCTAL.match(self.text, begins):
            if self.text[found.end() : found.end() + 1] in ("8", "9"):
                raise TextError("Numbers starting with leading zero must be in octal.", found.end())
            return "integer", found.end()
        found = _DECIMAL.match(self.text, begins)
        assert found  # noqa: S101 - it begins with a digit, or a point and a digit
        if found["exponent"] and not found["digits"]:
            raise TextError('"e" must be followed by exponent.', found.end("digits"))
        return ("integer" if found[0].isdecimal() else "float"), found.end()

    def _string(self, quote: str, begins: int) -> int:
        ends = begins + 1
        while True:
            ends = _end(_PLAIN[quote], self.text, ends)
            stopped_by = self.text[ends : ends + 1]
            if stopped_by == quote:
                return ends + 1
            if stopped_by != "\\":
                reason = STRING_CROSSES if stopped_by == "\n" else STRING_ENDS
                raise TextError(reason, ends)
            ends = self._escape(ends + 1)

    def _escape(self, begins: int) -> int:
        for pattern, reason in _ESCAPES:
            if found := pattern.match(self.text, begins):
                if reason:
                    raise TextError(reason, found.end())
                return found.end()
        raise AssertionError  # the last pattern matches


STRING_ENDS = "Unexpected end of string."
STRING_CROSSES = "String literals cannot cross line boundaries."


def _end(pattern: re.Pattern[str], text: str, begins: int) -> int:
    found = pattern.match(text, begins)
    return found.end() if found else begins


_SIMPLE = {
    **dict(zip("abfnrtv", b"\a\b\f\n\r\t\v", strict=True)),
    **dict(zip("\\?'\"", b"\\?'\"", strict=True)),
}
_ESCAPED = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9A-Fa-f]{1,2})|(?P<simple>[abfnrtv\\?'\"])|"
    r"(?P<pair>(?:u|U0000)[dD][89ABab][0-9A-Fa-f]{2}\\u[dD][C-Fc-f][0-9A-Fa-f]{2})|"
    r"u(?P<four>[0-9A-Fa-f]{4})|U(?P<eight>[0-9A-Fa-f]{8}))",
    re.ASCII,
)


def unquoted(token: str) -> bytes:
    """Return the value of a token that is a string."""
    if "\\" not in token:
        return token[1:-1].encode("utf-8", "surrogateescape")
    pieces, position = [], 1
    for found in _ESCAPED.finditer(token, 1, len(token) - 1):
        pieces += [token[position : found.start()].encode("utf-8", "surrogateescape"), _value(found)]
        position = found.end()
    return b"".join([*pieces, token[position:-1].encode("utf-8", "surrogateescape")])


def _character(digits: str) -> bytes:
    """Return the UTF-8 of a code point; protobuf lets some pass that Unicode does not have, and leaves them escaped."""
    point = int(digits, 16)
    return chr(point).encode("utf-8", "surrogatepass") if point <= sys.maxunicode else rf"\U{point:08x}".encode()


def _of_surrogates(pair: str) -> bytes:
    r"""Return the UTF-8 of a code point that is written as two halves, such as ``ud83d\ude00``."""
    head, trail = (int(half[-4:], 16) for half in pair.split("\\"))
    return struct.pack("<HH", head, trail).decode("utf-16-le").encode()


def _value(escaped: re.Match[str]) -> bytes:
    made: dict[str, Callable[[str], bytes]] = {
        "octal": lambda digits: bytes([int(digits, 8) & 0xFF]),
        "hex": lambda digits: bytes([int(digits, 16)]),
        "simple": lambda letter: bytes([_SIMPLE[letter]]),
        "pair": _of_surrogates,
        "four": _character,
        "eight": _character,
    }
    kind = str(escaped.lastgroup)
    return made[kind](escaped[kind])
