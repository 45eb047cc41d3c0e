"""Digests of files, to notice changes."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PIECE = 4 << 20
# So much is written while the disk still takes what came before.
FLUSHED = 256 << 20
# Copies from this size on keep their digest: time passes while they are written, so that a later change has another.
LARGE = 64 << 20
# The digests of copies that this process has made, by device and inode: size, modification time, and SHA-256.
_copies: dict[tuple[int, int], tuple[int, int, str]] = {}


@dataclass(frozen=True)
class FileRecord:
    """A record of a file, to notice changes."""

    sha256: str  # hex
    size: int  # bytes
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Return the record of a file. One that ``copy_hashed`` has made, and its hard links, are not read again."""
        stat = path.stat()
        known = _copies.get((stat.st_dev, stat.st_ino))
        unchanged = known and known[:2] == (stat.st_size, stat.st_mtime_ns)
        return cls(known[2] if known and unchanged else sha256_of(path), stat.st_size, stat.st_mtime_ns)

    def matches(self, path: Path) -> bool:
        """Whether the file is unchanged; its content is only read if its time differs."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        if (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns):
            return True
        return stat.st_size == self.size and sha256_of(path) == self.sha256


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Return the record of every file below ``folder``, by relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): FileRecord.of(file) for file in files}


def are_intact(files: Mapping[str, FileRecord], folder: Path) -> bool:
    """Whether every recorded file in ``folder`` is unchanged."""
    return all(record.matches(folder / name) for name, record in files.items())


def content_of(files: Mapping[str, FileRecord]) -> dict[str, str]:
    """Return the digest of every file of a model's folder, independent of the version's number."""
    return {name.partition("/")[2] or name: record.sha256 for name, record in files.items()}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of each file below a folder by its relative path."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {str(file.relative_to(path)): sha256_of(file) for file in files}


def copy_hashed(source: Path, target: Path) -> None:
    """Copy a file's content. It is hashed and flushed to the disk at the same time, so that neither is waited for."""
    digest = hashlib.sha256()
    done: Future[None] | None = None
    flushed: Future[None] | None = None
    with source.open("rb") as read, target.open("wb") as write, ThreadPoolExecutor(2) as pool:
        written = 0
        while piece := read.read(PIECE):
            if done:
                done.result()
            done = pool.submit(digest.update, piece)
            write.write(piece)
            written += len(piece)
            if written % FLUSHED == 0 and (flushed is None or flushed.done()):
                flushed = pool.submit(os.fdatasync, write.fileno())
    stat = target.stat()
    if stat.st_size >= LARGE:
        _copies[stat.st_dev, stat.st_ino] = (stat.st_size, stat.st_mtime_ns, digest.hexdigest())
