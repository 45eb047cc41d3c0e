"""Messages of protobuf, read field by field from a file without loading it, and without their classes."""

from collections.abc import Iterator
from dataclasses import dataclass

from modelrepo.generator.graphs.outline import Readable, fields, varint

SIGN, WIDTH = 1 << 63, 1 << 64


@dataclass(frozen=True)
class Message:
    """The bytes of a message between two places; fields are numbered as its .proto says.

    Methods raise LookupError for bytes that are not a message.
    """

    content: Readable
    start: int
    end: int

    @property
    def raw(self) -> bytes:
        """The message itself, or the value of a field of bytes."""
        return bytes(self.content[self.start : self.end])

    @property
    def text(self) -> str:
        """The value of a field of text; bytes that are not UTF-8 are replaced."""
        return self.raw.decode("utf-8", errors="replace")

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.start

    def each(self, number: int) -> Iterator["Message"]:
        """Yield the values of a field: messages, texts or bytes."""
        for found, start, value, end in fields(self.content, self.start, self.end):
            if found == number and self.content[start] & 7 == 2:
                yield Message(self.content, value, end)

    def one(self, *numbers: int) -> "Message":
        """Return the last value of a field, or of a field within it; an empty one if there is none."""
        found = self
        for number in numbers:
            found = next(iter(list(found.each(number))[-1:]), Message(self.content, self.end, self.end))
        return found

    def number(self, number: int) -> int:
        """Return the last value of a field of whole numbers; 0 if there is none."""
        last = 0
        for found, start, value, _ in fields(self.content, self.start, self.end):
            if found == number and self.content[start] & 7 == 0:
                last = varint(self.content, value)[0]
        return last - WIDTH if last & SIGN else last

    def fixed(self, number: int) -> Iterator[bytes]:
        """Yield the values of a field of four bytes."""
        for found, start, value, end in fields(self.content, self.start, self.end):
            if found == number and self.content[start] & 7 == 5:
                yield bytes(self.content[value:end])

    def pairs(self, number: int) -> Iterator[tuple[str, "Message"]]:
        """Yield the keys and values of a map whose keys are texts."""
        for entry in self.each(number):
            yield entry.one(1).text, entry.one(2)
