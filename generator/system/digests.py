"""Digests of files, to notice changes."""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PIECE = 4 << 20
# So much is written while the disk still takes what came before.
FLUSHED = 256 << 20
# Digests of files from this size on are kept in the process: to read one takes longer than its times are coarse.
LARGE = 64 << 20
# A file that was changed so shortly before it was read may be changed again without another time.
SETTLED_NS = 2 * 10**9
# By device and inode: size, modification and change time, and SHA-256. Links change the latter time, so that the copies
# that this process has made are known without it.
_read: dict[tuple[int, int], tuple[int, int, int, str]] = {}
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
    """Return the SHA-256 of a file, in hex. A large one that did not change since this process read it is not read."""
    known = _known(path.stat())
    if known:
        return known
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    settled = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > SETTLED_NS
    if after.st_size >= LARGE and settled and _times(before) == _times(after):
        _read[after.st_dev, after.st_ino] = (*_times(after), digest)
    return digest


def _known(stat: os.stat_result) -> str:
    """Return the digest of a file that this process has read and that did not change since, or an empty text."""
    known = _read.get((stat.st_dev, stat.st_ino))
    return known[3] if known and known[:3] == _times(stat) else ""


def _times(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest_tree(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of each file below a folder by its relative path."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {str(file.relative_to(path)): sha256_of(file) for file in files}


def copy_hashed(source: Path, target: Path) -> None:
    """Copy a file's content, and keep the digest of a large one for its record.

    One that this process has read already is copied by the kernel, which shares the blocks where the file system can.
    Any other is hashed and flushed to the disk while it is copied.
    """
    before = source.stat()
    digest = _known(before)
    if digest:
        _copy_by_kernel(source, target)
    if not digest or _times(source.stat()) != _times(before):
        digest = _copy_and_hash(source, target)
    stat = target.stat()
    if stat.st_size >= LARGE:
        _copies[stat.st_dev, stat.st_ino] = (stat.st_size, stat.st_mtime_ns, digest)


def _copy_by_kernel(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        try:
            while os.copy_file_range(read.fileno(), write.fileno(), FLUSHED):
                pass
        except (AttributeError, OSError):  # another file system or system; what is full fails again
            write.truncate(0)
            shutil.copyfile(source, target)


def _copy_and_hash(source: Path, target: Path) -> str:
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
    return digest.hexdigest()
