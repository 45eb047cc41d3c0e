"""The variables of a SavedModel: an index, which is a table of LevelDB, and the shards that hold their values.

Sources: tensorflow/core/util/tensor_bundle, and doc/table_format.md of LevelDB.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.generator.graphs.outline import Bytes, varint
from modelrepo.generator.inspection.messages import Message

INDEX = "variables.index"
MAGIC, FOOTER = 0xDB4775248B80FB57, 48
# A block is followed by the kind of its compression and a checksum.
TRAILER = 5
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"
# As much is read of the names of objects.
MOST_BYTES = 64 << 20


class Unreadable(ValueError):
    """The index of variables is damaged, or compressed; the text says which."""


@dataclass(frozen=True)
class Variable:
    """A variable: the number of its type in DataType, and the place of its values in a shard."""

    name: str
    data_type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: bytes


@dataclass(frozen=True)
class Bundle:
    """All variables, and the number of shards that hold them.

    ``copies`` are saved a second time under another key, with the same name and values, as Keras does.
    """

    variables: tuple[Variable, ...]
    shards: int
    copies: tuple[Variable, ...] = ()


def shard_name(number: int, count: int) -> str:
    """Return the name of a file of values."""
    return f"variables.data-{number:05}-of-{count:05}"


def read(folder: Path) -> Bundle:
    """Read the index of a folder ``variables``; Unreadable for a damaged one, OSError if there is none."""
    with (folder / INDEX).open("rb") as file:
        if file.seek(0, 2) < FOOTER:
            raise Unreadable(f"{INDEX} is truncated")
        content = Bytes(file.fileno())
        try:
            entries = {key.decode("utf-8", errors="replace"): value for key, value in _entries(content)}
        except (LookupError, struct.error, ValueError) as error:
            raise Unreadable(f"{INDEX} is damaged, or compressed") from error
        try:
            shards = max(1, _message(entries.pop("", b"")).number(1))
            found = [_variable(key, value) for key, value in entries.items()]
        except LookupError as error:
            raise Unreadable(f"{INDEX} is damaged") from error
    objects = next((each for each in found if each.name == OBJECTS), None)
    names = _full_names(folder / shard_name(objects.shard, shards), objects) if objects else {}
    kept, copies = _once([each for each in found if each.name != OBJECTS], names)
    times = Counter(names.get(each.name) for each in kept)
    variables = (
        replace(each, name=own if own and times[own] == 1 else each.name.removesuffix(ATTRIBUTE))
        for each, own in ((each, names.get(each.name)) for each in kept)
    )
    return Bundle(tuple(variables), shards, tuple(copies))


def _once(found: Sequence[Variable], names: Mapping[str, str]) -> tuple[list[Variable], list[Variable]]:
    """Return the variables, and those of them that were saved before: layers and all have the same name and values."""
    kept: list[Variable] = []
    copies: list[Variable] = []
    seen: set[tuple[str, bytes, tuple[int, ...], int]] = set()
    for each in found:
        name = names.get(each.name, "")
        key = (name, each.checksum, each.shape, each.size)
        (copies if key in seen else kept).append(each)
        if "/" in name:  # a variable without a name of its own is called Variable
            seen.add(key)
    return kept, copies


def _entries(content: Bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = len(content) - FOOTER
    if struct.unpack("<Q", content[len(content) - 8 : len(content)])[0] != MAGIC:
        raise LookupError("no footer")
    _, at = varint(content, footer)  # the meta index, which is empty
    _, at = varint(content, at)
    left = len(content)
    for _, handle in _block(content, at):
        left -= varint(handle, varint(handle, 0)[1])[0]
        if left < 0:
            raise LookupError("blocks overlap")
        yield from _block(content, 0, handle)


def _block(content: Bytes, at: int, handle: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of the block that a handle, at a place or given, points at."""
    held = handle if handle is not None else content
    start, at = varint(held, at)
    size, _ = varint(held, at)
    end = start + size
    if end + TRAILER > len(content) or size < 4 or content[end] != 0:
        raise LookupError("a block is missing, or compressed")
    (restarts,) = struct.unpack("<I", content[end - 4 : end])
    at, stop, key = start, end - 4 - 4 * restarts, b""
    while at < stop:
        shared, at = varint(content, at)
        own, at = varint(content, at)
        length, at = varint(content, at)
        key = key[:shared] + content[at : at + own]
        value = content[at + own : at + own + length]
        at += own + length
        if at > stop:
            raise LookupError("an entry ends behind its block")
        yield key, value


def _message(content: bytes) -> Message:
    return Message(content, 0, len(content))


def _variable(name: str, value: bytes) -> Variable:
    """Return an entry (BundleEntryProto)."""
    entry = _message(value)
    shape = tuple(dim.number(1) for dim in entry.one(2).each(2))
    checksum = next(entry.fixed(6), b"")
    return Variable(name, entry.number(1), shape, entry.number(3), entry.number(4), entry.number(5), checksum)


def _full_names(shard: Path, objects: Variable) -> dict[str, str]:
    """Return the names that variables have in the program, by their keys in the index; those that can be read."""
    if not 0 < objects.size <= MOST_BYTES or objects.offset < 0:
        return {}
    try:
        with shard.open("rb") as file:
            file.seek(objects.offset)
            held = file.read(objects.size)
        length, at = varint(held, 0)
        start = at + 4  # a checksum of the length comes first
        graph = Message(held, start, start + length)
        attributes = [each for node in graph.each(1) for each in node.each(2)]
        return {each.one(3).text: each.one(2).text for each in attributes}
    except (OSError, LookupError):
        return {}
