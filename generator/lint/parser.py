"""Protobuf's text format, parsed as Triton's server parses it: the fields, their places, and its words for errors.

The server has protobuf for C++ (src/google/protobuf/text_format.cc). Protobuf for Python differs: it refuses
``- 1`` and bytes that are not UTF-8, and accepts unknown escapes. It keeps no places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelrepo.generator.lint.tokens import Lines, TextError, Token, Tokenizer, unquoted

CLOSING = {"{": "}", "<": ">"}
# More digits than the largest number of 64 bits has; Python converts no text of thousands.
LONGEST = 100
TRUE, FALSE = ("true", "True", "t"), ("false", "False", "f")


@dataclass
class Node:
    """A value in the text: its place, and its token or the values of its fields, in order. Places count from 1."""

    line: int = 0  # of the field's name, or of the value in a list
    column: int = 0
    written: str = ""  # as it is written; empty for a message
    begins: tuple[int, int] = (0, 0)  # line and column of the value itself
    ends: tuple[int, int] = (0, 0)  # line and column behind it
    fields: dict[str, list[Node]] = field(default_factory=dict)

    def map_keys(self) -> list[str]:
        """Return the key of the entry of a map; nothing if it has none."""
        return [_key(each.written) for each in self.fields.get("key", [])]


def _key(written: str) -> str:
    return _text(unquoted(written)) if written[:1] in ("'", '"') else written


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


class Parser:
    """A parser of one text: ``parse`` fills a message, and ``tree`` has the places of what was read."""

    def __init__(self, text: str) -> None:
        """Take a text; bytes that are not UTF-8 are surrogates in it."""
        self.tree = Node()
        self.lines = Lines(text)
        self._tokens = Tokenizer(text)

    def parse(self, message: Any) -> None:
        """Fill ``message`` with what the text says. TextError if Triton's parser refuses the text."""
        self._tokens.next()
        while self._current.kind != "end":
            self._field(_Message(message), self.tree)

    @property
    def string_before(self) -> tuple[int, int] | None:
        """Where the string begins and ends that was taken last, or last but one if the last token touches it."""
        before, earlier = self._tokens.before, self._tokens.earlier
        if before.kind != "string" and before.begins == earlier.ends:
            before = earlier
        return (before.begins, before.ends) if before.kind == "string" else None

    @property
    def _current(self) -> Token:
        return self._tokens.current

    def _refuse(self, reason: str) -> TextError:
        return TextError(reason, self._current.begins)

    def _refuse_word(self, reason: str) -> TextError:
        """Return the error for the word that was taken last."""
        return TextError(reason, self._current.begins, self._tokens.before.begins)

    def _took(self, text: str) -> bool:
        if self._current.text != text:
            return False
        self._tokens.next()
        return True

    def _take(self, text: str) -> None:
        if not self._took(text):
            raise self._refuse(f'Expected "{text}", found "{self._current.text}".')

    def _identifier(self) -> str:
        if self._current.kind != "identifier":
            raise self._refuse(f"Expected identifier, got: {self._current.text}")
        return self._tokens.next().text

    def _field(self, into: _Message, node: Node) -> None:
        begins = self._current.begins
        if self._current.text == "[":
            self._extension(into)
        name = self._identifier()
        known = into.descriptor.fields_by_name.get(name)
        if known is None:
            raise self._refuse_word(f'Message type "{into.descriptor.full_name}" has no field named "{name}".')
        if reason := into.refuses(known):
            raise self._refuse(reason)
        if known.message_type is None:
            self._take(":")
        else:
            self._took(":")
        values = node.fields.setdefault(name, [])
        if known.is_repeated and self._took("["):
            self._list(into, known, values)
        else:
            self._one(into, known, values, begins)
        _ = self._took(";") or self._took(",")

    def _extension(self, into: _Message) -> None:
        self._take("[")
        name = self._identifier()
        while self._took("."):
            name += f".{self._identifier()}"
        self._take("]")
        of = into.descriptor.full_name
        raise self._refuse(f'Extension "{name}" is not defined or is not an extension of "{of}".')

    def _list(self, into: _Message, known: Any, values: list[Node]) -> None:
        if self._took("]"):
            return
        while True:
            self._one(into, known, values, self._current.begins)
            if self._took("]"):
                return
            self._take(",")

    def _one(self, into: _Message, known: Any, values: list[Node], begins: int) -> None:
        node = Node(*self.lines.place(begins), begins=self.lines.place(self._current.begins))
        values.append(node)
        if known.message_type is None:
            node.written = self._current.text
            into.set(known, self._scalar(known))
        else:
            self._message(into, known, node)
        node.ends = self.lines.place(self._tokens.ended)

    def _message(self, into: _Message, known: Any, node: Node) -> None:
        if self._took("<"):
            closing = ">"
        else:
            self._take("{")
            closing = "}"
        inner = into.inner(known)
        while self._current.text not in CLOSING.values():
            self._field(inner, node)
        self._take(closing)
        into.finish(known, inner)

    def _scalar(self, known: Any) -> Any:
        kinds = type(known)
        if known.cpp_type == kinds.CPPTYPE_STRING:
            return self._string()
        if known.cpp_type == kinds.CPPTYPE_BOOL:
            return self._boolean(known)
        if known.cpp_type == kinds.CPPTYPE_ENUM:
            return self._enum(known)
        if known.cpp_type in (kinds.CPPTYPE_FLOAT, kinds.CPPTYPE_DOUBLE):
            return self._real()
        bits = 64 if known.cpp_type in (kinds.CPPTYPE_INT64, kinds.CPPTYPE_UINT64) else 32
        if known.cpp_type in (kinds.CPPTYPE_INT32, kinds.CPPTYPE_INT64):
            return self._signed(bits)
        return self._unsigned((1 << bits) - 1)

    def _string(self) -> str:
        if self._current.kind != "string":
            raise self._refuse(f"Expected string, got: {self._current.text}")
        value = b""
        while self._current.kind == "string":  # strings in a row are one
            value += unquoted(self._tokens.next().text)
        return _text(value)

    def _boolean(self, known: Any) -> bool:
        if self._current.kind == "integer":
            return bool(self._unsigned(1))
        value = self._identifier()
        if value not in TRUE + FALSE:
            raise self._refuse_word(f'Invalid value for boolean field "{known.name}". Value: "{value}".')
        return value in TRUE

    def _enum(self, known: Any) -> int:
        if self._current.kind == "identifier":
            name = self._identifier()
            if name not in known.enum_type.values_by_name:
                raise self._refuse_word(f'Unknown enumeration value of "{name}" for field "{known.name}".')
            return int(known.enum_type.values_by_name[name].number)
        if self._current.kind == "integer" or self._current.text == "-":
            return self._signed(32)
        raise self._refuse(f"Expected integer or identifier, got: {self._current.text}")

    def _signed(self, bits: int) -> int:
        most = (1 << (bits - 1)) - 1
        return -self._unsigned(most + 1) if self._took("-") else self._unsigned(most)

    def _unsigned(self, most: int) -> int:
        if self._current.kind != "integer":
            raise self._refuse(f"Expected integer, got: {self._current.text}")
        value = _integer(self._current.text)
        if value > most:
            raise self._refuse(f"Integer out of range ({self._current.text})")
        self._tokens.next()
        return value

    def _real(self) -> float:
        sign = -1 if self._took("-") else 1
        text = self._current.text
        if self._current.kind == "identifier" and text.lower() in ("inf", "infinity", "nan"):
            value = float(text)
        elif self._current.kind == "float":
            value = float(text.rstrip("fF"))
        elif self._current.kind == "integer" and _is_decimal(text):
            value = float(text)
        elif self._current.kind == "integer":
            raise self._refuse(f"Expect a decimal number, got: {text}")
        else:
            text = text.lower() if self._current.kind == "identifier" else text
            raise self._refuse(f"Expected double, got: {text}")
        self._tokens.next()
        return sign * value


def _made(descriptor: Any) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(descriptor)()


def _is_decimal(text: str) -> bool:
    return len(text) == 1 or not text.startswith("0")


def _integer(text: str) -> int:
    if len(text.lstrip("0")) > LONGEST:
        return 1 << LONGEST  # above every field
    if text[:2] in ("0x", "0X"):
        return int(text[2:], 16)
    return int(text) if _is_decimal(text) else int(text, 8)


class _Message:
    """A message that is filled, or an entry of a map."""

    def __init__(self, message: Any, descriptor: Any = None) -> None:
        self.message = message  # None: an entry of a map
        self.descriptor = message.DESCRIPTOR if descriptor is None else descriptor
        self.entry: dict[str, Any] = {}

    def refuses(self, known: Any) -> str:
        """Return the parser's reason why a field can't be set once more; empty if it can."""
        if known.is_repeated:
            return ""
        if self._has(known):
            return f'Non-repeated field "{known.name}" is specified multiple times.'
        choice = known.containing_oneof
        other = self.message.WhichOneof(choice.name) if choice is not None else None
        if other:
            return (
                f'Field "{known.name}" is specified along with field "{other}", another member of oneof '
                f'"{choice.name}".'
            )
        return ""

    def _has(self, known: Any) -> bool:
        if self.message is None:
            return known.name in self.entry
        if known.has_presence:
            return bool(self.message.HasField(known.name))
        return bool(getattr(self.message, known.name))

    def set(self, known: Any, value: Any) -> None:
        """Set or append a value that is not a message."""
        if self.message is None:
            self.entry[known.name] = value
        elif known.is_repeated:
            getattr(self.message, known.name).append(value)
        else:
            setattr(self.message, known.name, value)

    def inner(self, known: Any) -> _Message:
        """Return the message of a field, to be filled."""
        if known.message_type.GetOptions().map_entry:
            return _Message(None, known.message_type)
        if self.message is None:
            self.entry[known.name] = _made(known.message_type)
            return _Message(self.entry[known.name])
        if known.is_repeated:
            return _Message(getattr(self.message, known.name).add())
        made = getattr(self.message, known.name)
        made.SetInParent()
        return _Message(made)

    def finish(self, known: Any, inner: _Message) -> None:
        """Put an entry that is complete into its map; the last one with a key counts."""
        if inner.message is not None:
            return
        kept = getattr(self.message, known.name)
        key_field, value_field = (known.message_type.fields_by_name[name] for name in ("key", "value"))
        key = inner.entry.get("key", key_field.default_value)
        if value_field.message_type is None:
            kept[key] = inner.entry.get("value", value_field.default_value)
        else:
            kept[key].Clear()
            if "value" in inner.entry:
                kept[key].CopyFrom(inner.entry["value"])
