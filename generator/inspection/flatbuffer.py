"""FlatBuffers, read table by table without loading the file (flatbuffers.dev/internals)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.graphs.outline import Readable

# A file in which tables point at each other again and again is read this often, no more.
TIMES = 4


class Damaged(ValueError):
    """A file points outside of itself, or at the same place again and again."""


class Content:
    """The bytes of a file, and how many elements of lists may still be read."""

    def __init__(self, content: Readable) -> None:
        self.bytes = content
        self.left = TIMES * len(content)

    def number(self, at: int, form: str = "<I") -> int:
        """Return a number; Damaged if it lies outside of the file."""
        end = at + struct.calcsize(form)
        if not 0 <= at <= end <= len(self.bytes):
            raise Damaged("it is truncated, or points outside of itself")
        return int(struct.unpack(form, self.bytes[at:end])[0])

    def spend(self, elements: int) -> None:
        """Count elements that are read; Damaged if there are more than a sound file has."""
        self.left -= elements
        if self.left < 0:
            raise Damaged("it points at the same place again and again")


@dataclass(frozen=True)
class Table:
    """A table: its fields are numbered in the order of the schema."""

    content: Content
    place: int

    def _field(self, index: int) -> int:
        """Return the place of a field; 0 if the table does not have it."""
        vtable = self.place - self.content.number(self.place, "<i")
        slot = 4 + 2 * index
        offset = self.content.number(vtable + slot, "<H") if slot < self.content.number(vtable, "<H") else 0
        return self.place + offset if offset else 0

    def number(self, index: int, form: str = "<i", default: int = 0) -> int:
        """Return a number."""
        at = self._field(index)
        return self.content.number(at, form) if at else default

    def table(self, index: int) -> "Table | None":
        """Return a table within the table."""
        at = self._field(index)
        return Table(self.content, at + self.content.number(at)) if at else None

    def span(self, index: int, item: int = 1) -> tuple[int, int]:
        """Return the start and the number of the elements of a list, without reading them; 0 and 0 if it is absent."""
        at = self._field(index)
        if not at:
            return 0, 0
        start = at + self.content.number(at)
        count = self.content.number(start)
        if start + 4 + count * item > len(self.content.bytes):
            raise Damaged("it is truncated, or points outside of itself")
        return start + 4, count

    def numbers(self, index: int, form: str = "i") -> tuple[Any, ...]:
        """Return a list of numbers."""
        size = struct.calcsize(f"<{form}")
        start, count = self.span(index, size)
        self.content.spend(count)
        return struct.unpack(f"<{count}{form}", self.content.bytes[start : start + count * size]) if count else ()

    def tables(self, index: int) -> Iterator["Table"]:
        """Yield the tables of a list."""
        start, count = self.span(index, 4)
        self.content.spend(count)
        for at in range(start, start + 4 * count, 4):
            yield Table(self.content, at + self.content.number(at))

    def text(self, index: int) -> str:
        """Return a text; bytes that are not UTF-8 are replaced."""
        start, count = self.span(index)
        self.content.spend(count)
        return bytes(self.content.bytes[start : start + count]).decode("utf-8", errors="replace")


def root(content: Content, at: int = 0) -> Table:
    """Return the table of a whole file, or of one that begins at a place in it."""
    return Table(content, at + content.number(at))
