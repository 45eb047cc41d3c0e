"""An ONNX model without its weights: a file read without loading the tensors that make it large."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, overload

# Weights at least this large are left in the file; tensors that shapes are computed from are smaller.
LEFT_BYTES = 1 << 10
# Wire types of protobuf (protobuf.dev/programming-guides/encoding), and the sizes of those that have one.
VARINT, DELIMITED, SIZES = 0, 2, {1: 8, 5: 4}
# Bytes that are read at once.
BLOCK = 1 << 16
# The bits of a number are in at most ten bytes, seven in each.
LONGEST = 70
# Fields of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9


def read(path: Path) -> Any:
    """Return the ``onnx.ModelProto`` at ``path``, its large initializers as external data in that same file.

    It is complete as long as the file lies beside it, and takes no more memory than the graph. Raises protobuf's
    DecodeError for a file that is not an ONNX model, or is truncated.
    """
    from google.protobuf.message import DecodeError

    with path.open("rb") as file:
        try:
            content = Bytes(file.fileno())
            if not len(content):
                raise LookupError(path)
            return _read(content, path.name)
        except (ValueError, LookupError) as error:  # it is empty, or ends within a field
            raise DecodeError(f"{path} is not an ONNX model, or is truncated") from error


def external_files(path: Path) -> set[Path]:
    """Return the other files that hold initializers of the model at ``path``; errors are those of ``read``."""
    entries = (entry for tensor in read(path).graph.initializer for entry in tensor.external_data)
    locations = {entry.value for entry in entries if entry.key == "location"}
    return {path.parent / location for location in locations - {path.name}}


def in_own_file(tensor: Any, path: Path) -> bool:
    """Whether ``read`` left this initializer of the model at ``path`` in the file."""
    return any(entry.key == "location" and entry.value == path.name for entry in tensor.external_data)


class Bytes:
    """The bytes of a file, read as they are asked for.

    A mapping would be as short; but the kernel ends (SIGBUS) who reads one of a file that is cut off meanwhile.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of an open file."""
        self._descriptor = descriptor
        self._begins, self._block = 0, b""

    def __len__(self) -> int:
        """Return the length of the file."""
        return os.fstat(self._descriptor).st_size

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> bytes: ...

    def __getitem__(self, place: int | slice) -> int | bytes:
        """Return a byte, or those between two places; IndexError if the file ends before."""
        return self._between(place.start, place.stop) if isinstance(place, slice) else self._at(place)

    def _at(self, place: int) -> int:
        offset = place - self._begins
        if not 0 <= offset < len(self._block):
            self._begins, self._block, offset = place, os.pread(self._descriptor, BLOCK, place), 0
        return self._block[offset]

    def _between(self, start: int, end: int) -> bytes:
        first, last = start - self._begins, end - self._begins
        if first >= 0 and last <= len(self._block):
            return self._block[first:last]
        found = bytearray()
        while len(found) < end - start:  # the kernel gives 2 GB at a time
            part = os.pread(self._descriptor, end - start - len(found), start + len(found))
            if not part:
                raise IndexError(end)
            found += part
        return bytes(found)


Readable: TypeAlias = Bytes | bytes


def _read(content: Bytes, name: str) -> Any:
    import onnx

    model, graph, left = bytearray(), bytearray(), []
    for number, start, value, end in fields(content, 0, len(content)):
        if number != GRAPH:
            model += content[start:end]
            continue
        for inner, inner_start, inner_value, inner_end in fields(content, value, end):
            if inner == INITIALIZER and inner_end - inner_value >= LEFT_BYTES:
                left.append(_tensor(content, inner_value, inner_end, name))
            else:
                graph += content[inner_start:inner_end]
    outline = onnx.ModelProto.FromString(bytes(model))
    outline.graph.ParseFromString(bytes(graph))
    outline.graph.initializer.extend(left)
    return outline


def _tensor(content: Bytes, start: int, end: int, name: str) -> Any:
    """Return the TensorProto between two places; its raw data, if any, stays in the file of that name."""
    import onnx

    kept, raw = bytearray(), (0, 0)
    for number, field_start, value, field_end in fields(content, start, end):
        if number == RAW_DATA:
            raw = (value, field_end - value)
        else:
            kept += content[field_start:field_end]
    tensor = onnx.TensorProto.FromString(bytes(kept))
    offset, length = raw
    if length:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, entry in {"location": name, "offset": offset, "length": length}.items():
            tensor.external_data.add(key=key, value=str(entry))
    return tensor


def fields(content: Readable, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the fields of a message: number, start of the field, start of its value, and end.

    IndexError or KeyError for bytes that are not a message.
    """
    while start < end:
        tag, value = varint(content, start)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, after = varint(content, value)
        elif kind == DELIMITED:
            length, value = varint(content, value)
            after = value + length
        else:
            after = value + SIZES[kind]
        if after > end or not number:  # no field has the number 0: these are bytes of something else
            raise IndexError(after)
        yield number, start, value, after
        start = after


def varint(content: Readable, at: int) -> tuple[int, int]:
    """Return the number that starts at a place, and the place after it."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > LONGEST:
            raise IndexError(at)
        if byte < 0x80:
            return number, at
