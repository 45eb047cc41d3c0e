"""The format of a file, found from its content instead of its suffix, before any framework opens it."""

import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.system.pickles import operations

# The first bytes of formats that have some; pickles begin with their protocol, compressed ones with the compression's.
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "archive",  # a zip of nothing
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": "torch pickle",  # torch.serialization.MAGIC_NUMBER, pickled
    b"\x80\x02": "pickle",
    b"\x80\x03": "pickle",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "lzma",
    b"]\x00\x00": "lzma",
    b"x\x01": "zlib",
    b"x^": "zlib",
    b"x\x9c": "zlib",
    b"x\xda": "zlib",
    b"\x93NUMPY": "arrays",
    b"ptrt": "plan",
    b"ftrt": "plan",
    b"GGUF": "gguf",
    b"PAR1": "table",
    b"CBM1": "catboost",
    b"binf": "binf",
    b"\x89PNG\r\n": "picture",
    b"\xff\xd8\xff": "picture",
    b"GIF8": "picture",
    b"7z\xbc\xaf": "archive",
    b"version https://git-lfs": "pointer",
}
# The beginnings of XGBoost's and LightGBM's own files, without spaces: JSON, universal binary JSON, and text.
BOOSTERS = {
    b'{"learner":': "xgboost",
    b'{"version":[': "xgboost",
    b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner": "xgboost",
    b"{L\x00\x00\x00\x00\x00\x00\x00\x07version[": "xgboost",
    b"tree\nversion=": "lightgbm",
    b"tree\r\nversion=": "lightgbm",
}
# What texts are by the suffix of their file.
TEXTS = {
    ".py": "python",
    ".csv": "table",
    ".tsv": "table",
    ".ipynb": "notebook",
    ".toml": "options",
}
# The members that identify a zip archive, checked in this order; "*" stands for the folder that torch names freely.
MEMBERS = (
    ("keras", ("config.json", "metadata.json")),
    ("skops", ("schema.json",)),
    ("pt2", ("*/archive_format",)),
    ("pt2", ("serialized_exported_program.json",)),
    ("torchscript", ("*/constants.pkl", "*/data.pkl")),
    ("torch pickle", ("*/data.pkl",)),
)
# What zipfile raises for an archive that is damaged, or of a kind that it does not read.
DAMAGED_ZIP = (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error, zlib.error)
# Field numbers and wire types of protobuf messages: 0 is a number, 2 a value with a length.
ONNX_MODEL = {*((field, 0) for field in (1, 5)), *((field, 2) for field in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}
ONNX_GRAPH = (7, 2)
SAVED_MODEL = {(1, 0), (2, 2)}
GRAPH_DEF = {(1, 2), (2, 2), (3, 0), (4, 2), (5, 2)}
# The opcodes of plain Python's containers.
PLAIN = {"EMPTY_DICT": "dict", "EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple", "MARK": "tuple"}
# The modules of the classes that a pickle of tensors alone begins with.
TENSOR_MODULES = ("collections ", "torch._utils ", "torch._tensor ", "torch.storage ", "torch ")


def kind_of(path: Path) -> str:
    """Return the format of ``path``: a name of a table of ``formats``, "python" or "folder".

    Raises SourceError for a file that is missing, empty, truncated or unreadable, and for an archive with members
    outside of it. Reads little, even of a large file.
    """
    try:
        if path.is_dir():
            if (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists():
                return "savedmodel"
            return "hf" if (path / "config.json").exists() else "folder"
        refuse_pipe(path)
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise SourceError(f"{path} is empty", "Save or download it again")
            return _file_kind(file, size, path)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise SourceError(f"{path} is a link to {path.readlink()}, which does not exist") from error
        raise SourceError(f"there is no file {path}", _neighbours(path)) from error
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror}") from error
    except _Truncated as error:
        raise SourceError(f"{path} is truncated", "Save or download it again") from error


def is_transformers(folder: Path) -> bool:
    """Whether a folder has the configuration of a transformers model, an adapter, or sentence-transformers' modules."""
    if (folder / "modules.json").is_file() or (folder / "adapter_config.json").is_file():
        return True
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and bool(document.keys() & {"model_type", "architectures"})


def refuse_pipe(path: Path) -> None:
    """Raise SourceError for a pipe, a socket or a device: opening one may wait forever. OSError if nothing exists."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise SourceError(f"{path} is not a file", "Save it as one: it is read more than once")


class _Truncated(Exception):
    """A file ends before its content does."""


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either"
    names = [each.name for each in folder.iterdir() if not each.name.startswith(".")]
    offered = nearest(path.name, names) if names else ""
    return offered if offered.startswith("Did you mean") else "Paths are relative to the current folder"


def _file_kind(file: BinaryIO, size: int, path: Path) -> str:
    head = file.read(512)
    magic = next((kind for start, kind in MAGIC.items() if head.startswith(start)), "")
    if magic == "zip":
        return _zip_kind(path)
    if magic == "torch pickle":
        file.seek(0)
        return _pickled(file, 4)  # a magic number, a version and the system's facts come first
    if magic == "pickle":
        file.seek(-1, 2)
        if file.read() != b".":  # the opcode that every pickle ends with
            raise _Truncated
    if magic in ("gzip", "bz2", "lzma", "zlib"):
        return _compressed_kind(magic, path)
    if magic == "hdf5":
        _check_hdf5(head, size)
    if magic:
        return magic
    starts = (head, b"".join(head.split()))  # JSON may be spread over lines
    booster = next((kind for start, kind in BOOSTERS.items() if any(each.startswith(start) for each in starts)), "")
    if booster:
        return booster
    if head[4:8] == b"TFL3":
        _check_tflite(file, size)
        return "tflite"
    if head[8:9] == b"{":
        return _safetensors_kind(file, size)
    if head[257:262] == b"ustar":
        return "archive"
    kind = _text_kind(head) or _protobuf_kind(file, size)
    if kind == "unknown" and (path.suffix == ".index" or ".data-0" in path.suffix):
        return "checkpoint"
    return TEXTS.get(path.suffix, kind) if kind == "text" else kind


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if min((each.header_offset for each in members), default=0):
                raise _Truncated  # this directory belongs to an archive within the archive
            for member in members:
                _check_member(member, path)
            names = {each.filename for each in members}
            anywhere = names | {f"*/{name.partition('/')[2]}" for name in names}
            kind = next((kind for kind, needed in MEMBERS if anywhere.issuperset(needed)), "archive")
            if kind == "torch pickle":
                data = next(name for name in names if name.count("/") == 1 and name.endswith("/data.pkl"))
                with archive.open(data) as file:
                    return _pickled(file, 1)
            return "arrays" if all(name.endswith(".npy") for name in names) else kind
    except DAMAGED_ZIP as error:  # mostly, the directory of members, which is at the end, is missing
        raise _Truncated from error


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    """Raise SourceError for a member that would be unpacked, or link, outside of the target folder."""
    name = member.filename
    inside = PurePosixPath(name.replace("\\", "/"))
    leads_out = inside.is_absolute() or ".." in inside.parts or PureWindowsPath(name).drive
    if leads_out or stat.S_ISLNK(member.external_attr >> 16):
        raise SourceError(
            f"{path} holds {name!r}, which leads outside of the archive",
            "No framework writes such a file: don't use it",
        )


def _pickled(file: IO[bytes], count: int) -> str:
    """Return whether the last of ``count`` pickles holds tensors or a whole model, by the first class it names.

    Old files of torch have a reference to the class, ("module", class, …), before it.
    """
    try:
        for _ in range(count - 1):
            for _ in operations(file):
                pass
        _, first, second = (argument for _, argument in islice(operations(file), 3))
    except ValueError as error:
        raise _Truncated from error
    foreign = isinstance(first, str) and not first.startswith(TENSOR_MODULES)
    return "torch module" if foreign or second == "module" else "state dict"


def _compressed_kind(compression: str, path: Path) -> str:
    """Return whether a compressed file is a pickle, as joblib writes it, or something else."""
    try:
        start = _decompressed(compression, path)
    except EOFError as error:
        raise _Truncated from error
    return "pickle" if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) else "archive"


def pickled_class(path: Path) -> str:
    """Return the module and name of the class that a pickle begins with, such as "sklearn.svm._classes SVC".

    A pickle of plain Python begins with "dict", "list" or "tuple"; empty if the start does not tell. Nothing is loaded.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    compression = MAGIC[next(start for start in MAGIC if head.startswith(start))]
    if compression != "pickle":
        head = _decompressed(compression, path, 1 << 12)
    texts: list[str] = []
    try:
        for operation, value in operations(head):
            if operation in PLAIN:
                return PLAIN[operation]
            if operation == "GLOBAL":
                return str(value)
            if operation == "STACK_GLOBAL":
                return " ".join(texts[-2:])
            texts += [value] if isinstance(value, str) else []
    except ValueError:  # the head ends within a value
        pass
    return ""


def _decompressed(compression: str, path: Path, size: int = 16) -> bytes:
    """Return the first decompressed bytes; none if the file can't be read."""
    import bz2
    import gzip
    import lzma
    import zlib

    opened: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open, "lzma": lzma.open}
    try:
        if compression == "zlib":
            with path.open("rb") as file:
                return zlib.decompressobj().decompress(file.read(max(4096, size)), size)
        with opened[compression](path, "rb") as stream:
            return bytes(stream.read(size))
    except (zlib.error, lzma.LZMAError, OSError):
        return b""


def _check_hdf5(head: bytes, size: int) -> None:
    """Compare the size with the end of file in the superblock (HDF5 File Format Specification, II.A)."""
    version = head[8] if len(head) > 8 else 0
    place, width = (40 + 4 * version, head[13]) if version < 2 else (28, head[9])
    if int.from_bytes(head[place : place + width], "little") > size or len(head) < place + width:
        raise _Truncated


def _safetensors_kind(file: BinaryIO, size: int) -> str:
    """Read the header, which has the end of each tensor (huggingface.co/docs/safetensors)."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > 100_000_000:  # the format's own limit
        return "unknown"
    if 8 + length > size:
        raise _Truncated
    try:
        header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError):
        return "unknown"
    if 8 + length + max(ends, default=0) > size:
        raise _Truncated
    return "safetensors"


def _check_tflite(file: BinaryIO, size: int) -> None:
    """Check the end of every buffer of weights (FlatBuffers' binary format; field 4 of tflite's Model)."""

    def number(at: int, form: str = "<I") -> int:
        file.seek(at)
        return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

    def field(table: int, index: int) -> int:
        """Return the place that a field of a table points at; 0 if the table does not have it."""
        vtable = table - number(table, "<i")
        slot = 4 + 2 * index
        offset = number(vtable + slot, "<H") if slot < number(vtable, "<H") else 0
        return table + offset + number(table + offset) if offset else 0

    try:
        buffers = field(number(0), 4)
        for place in range(buffers + 4, buffers + 4 + 4 * number(buffers), 4) if buffers else ():
            data = field(place + number(place), 0)
            if data and data + 4 + number(data) > size:
                raise _Truncated
    except (struct.error, ValueError, OSError) as error:
        raise _Truncated from error


def _text_kind(head: bytes) -> str:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "page"
    if start.startswith(b"<?xml"):
        return "openvino" if b"<net " in start else "page" if b"<html" in start else "xml"
    if start.startswith(b"node {"):
        return "graph"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the last character may be cut off
            return ""
        text = head[: error.start].decode("utf-8")
    return "text" if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else ""


def _protobuf_kind(file: BinaryIO, size: int) -> str:
    fields = set()
    try:
        for field in _fields(file, size):
            fields.add(field)
            if field not in ONNX_MODEL | GRAPH_DEF:
                return "unknown"
    except _Truncated:
        if ONNX_GRAPH in fields and fields <= ONNX_MODEL:
            raise
        return "unknown"
    if ONNX_GRAPH in fields and fields <= ONNX_MODEL:
        return "onnx"
    if fields == SAVED_MODEL:
        return "saved_model.pb"
    return "graph" if (1, 2) in fields and fields <= GRAPH_DEF else "unknown"


def _fields(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Yield the number and wire type of each field of a protobuf message, skipping values with a length."""

    def varint() -> int:
        value = shift = 0
        while byte := file.read(1):
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
            shift += 7
            if shift > 63:
                break
        raise _Truncated

    file.seek(0)
    place = 0
    while place < size:
        tag = varint()
        yield tag >> 3, tag & 7
        place = varint() + file.tell() if tag & 7 == 2 else (varint(), file.tell())[1]
        if place > size:
            raise _Truncated
        file.seek(place)
