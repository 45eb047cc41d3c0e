"""Types, sizes and files of tensors, as Triton counts and finds them."""

import os
from collections.abc import Iterable
from math import prod
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from struct import iter_unpack, unpack_from
from typing import Any, BinaryIO

from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.regular import opened

# triton/common/model_config.cc; a string is at least its length, of four bytes.
BYTES = {
    "TYPE_BOOL": 1,
    "TYPE_UINT8": 1,
    "TYPE_UINT16": 2,
    "TYPE_UINT32": 4,
    "TYPE_UINT64": 8,
    "TYPE_INT8": 1,
    "TYPE_INT16": 2,
    "TYPE_INT32": 4,
    "TYPE_INT64": 8,
    "TYPE_FP16": 2,
    "TYPE_FP32": 4,
    "TYPE_FP64": 8,
    "TYPE_BF16": 2,
}


# The header of a shared library of 64 bits, a row of its table of segments, and the kind of those that are loaded.
ELF, ELF_HEADER, ELF_ROW, ELF_LOAD = b"\x7fELF", 64, 56, 1
# Said of a library that ends within a segment: a process that reads that part is killed.
DIES = "SIGBUS"
MOST_BYTES = (1 << 63) - 1
# The release from which on the core sees that elements or bytes can't be counted.
COUNTED_SINCE = "26.03"
# Bytes of memory that no host has, if it is not known what the host has.
MUCH_MEMORY = 1 << 39
# More of a file is not searched: no library and no code is longer, and a sparse file may have terabytes.
MOST_SEARCHED, SEARCHED_AT_ONCE = 1 << 28, 1 << 20
# More than a process can address: asking for it fails, and the server does not look whether it did.
MOST_MEMORY = 1 << 47


def enum_name(message: Any, field: str) -> str:
    """Return the name of the value of an enum; its number if it has no name, which a text may hold."""
    number = getattr(message, field)
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if value is None else str(value.name)


def elements_of(dims: Iterable[int]) -> int:
    """Return the number of elements; -1 if a dimension is variable, 0 without dimensions."""
    sizes = tuple(dims)
    return -1 if -1 in sizes else prod(sizes) if sizes else 0


def bytes_of(data_type: str, dims: Iterable[int]) -> int:
    """Return the bytes of a tensor; of strings, those of their lengths."""
    return elements_of(dims) * BYTES.get(data_type, 4)


def uncounted(name: str, data_type: str, dims: Iterable[int]) -> str:
    """Return what Triton says of a tensor whose bytes can't be counted, since COUNTED_SINCE; empty if they can."""
    sizes = list(dims)
    if min(sizes, default=1) < -1:
        return f"tensor '{name}' contains an invalid dimension [{','.join(map(str, sizes))}]"
    too_many = bytes_of(data_type, sizes) > MOST_BYTES
    return f"byte size for tensor '{name}' exceeds maximum size of {MOST_BYTES}" if too_many else ""


def dies_of(size: int) -> bool:
    """Whether the server dies when it makes room for some bytes, which it takes for unsigned."""
    return size % (1 << 64) >= MOST_MEMORY


def located(folder: Path, *segments: str) -> str:
    """Return the path that Triton makes of a folder and names in it: an absolute name is one in the folder as well."""
    joined = str(folder)
    for segment in segments:
        joined += segment if segment.startswith("/") else f"/{segment}"
    return joined.partition("\0")[0]


def unreadable(place: Place, path: str, write: str) -> tuple[Problem, ...]:
    """Return the problem if Triton can't read a file: without it a model is refused, with a folder the server dies."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib drops a slash at the end, which makes a file none
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return (refused(place, f"failed to open text file for read {path}: {reason}", write),)
    if S_ISDIR(found.st_mode):
        return (Problem(place, f"The server dies: it takes the folder {path} for a file", write),)
    if not S_ISREG(found.st_mode) or not os.access(path, os.R_OK):
        return (refused(place, f"failed to open text file for read {path}: Permission denied", write),)
    return ()


def broken_library(path: Path) -> str:
    """Return what dlopen says of a shared library that is none, or is cut off, or DIES; empty if it looks whole."""
    try:
        with path.open("rb") as file:
            return _broken_elf(file, path.stat().st_size)
    except IsADirectoryError as error:
        return f"cannot read file data: {error.strerror}"
    except OSError as error:
        return f"cannot open shared object file: {error.strerror}"


def _broken_elf(file: BinaryIO, size: int) -> str:
    header = file.read(ELF_HEADER)
    if not header.startswith(ELF) and len(header) >= ELF_HEADER:
        return "invalid ELF header"
    if len(header) < ELF_HEADER:
        return "file too short"
    (table,), (length, count) = unpack_from("<Q", header, 32), unpack_from("<HH", header, 54)
    if length != ELF_ROW:
        return "ELF file's phentsize not the expected size"
    if table + length * count > size:
        return "cannot read file data"
    file.seek(table)
    segments = iter_unpack("<IIQQQQQQ", file.read(length * count))
    loaded = (offset + there for kind, _, offset, _, _, there, *_ in segments if kind == ELF_LOAD)
    return DIES if any(end > size for end in loaded) else ""


def holds(path: Path, *needles: bytes) -> tuple[bool, ...]:
    """Return whether a file holds each of some bytes; it does not if it can't be read."""
    found = [False] * len(needles)
    left, kept = MOST_SEARCHED, max(map(len, needles)) - 1
    try:
        with opened(path) as file:
            last = b""
            while left > 0 and not all(found) and (block := file.read(SEARCHED_AT_ONCE)):
                content, left = last + block, left - len(block)
                found = [had or needle in content for had, needle in zip(found, needles, strict=True)]
                last = content[-kept:] if kept else b""
    except OSError:
        return (False,) * len(needles)
    return tuple(found)
