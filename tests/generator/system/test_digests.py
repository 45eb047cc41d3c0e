"""Digests: large files are read once in a process, and a changed one is read again."""

import hashlib
import os
from pathlib import Path

import pytest

from modelrepo.generator.system import digests
from modelrepo.generator.system.digests import FileRecord, copy_hashed, sha256_of

OLD_NS = 10**18


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that counts as large, and that was changed long ago."""
    monkeypatch.setattr(digests, "LARGE", 4)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    monkeypatch.setattr(digests, "_read", {})
    monkeypatch.setattr(digests, "_copies", {})
    path = tmp_path / "file"
    path.write_bytes(b"first")
    return path


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("read", [False, True])
def test_a_copy_has_the_bytes_and_the_digest_of_the_file(read: bool, file: Path, tmp_path: Path) -> None:
    if read:
        sha256_of(file)
    copy_hashed(file, tmp_path / "copy")
    os.link(tmp_path / "copy", tmp_path / "link")
    assert (tmp_path / "copy").read_bytes() == b"first"
    assert FileRecord.of(tmp_path / "link").sha256 == digest(b"first")


def test_a_known_copy_is_not_read_again(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_hashed(file, tmp_path / "copy")
    monkeypatch.setattr(digests, "sha256_of", lambda path: pytest.fail("it was read"))
    assert FileRecord.of(tmp_path / "copy").sha256 == digest(b"first")


def test_a_copy_that_was_changed_is_read_again(file: Path, tmp_path: Path) -> None:
    copy_hashed(file, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"other")
    os.utime(tmp_path / "copy", ns=(OLD_NS, OLD_NS))
    assert FileRecord.of(tmp_path / "copy").sha256 == digest(b"other")


def test_a_file_that_was_changed_is_read_again_though_its_time_was_set_back(file: Path) -> None:
    stat = file.stat()
    assert sha256_of(file) == digest(b"first")
    file.write_bytes(b"other")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sha256_of(file) == digest(b"other")


def test_a_file_that_was_just_changed_is_read_each_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", 2 * 10**9)
    sha256_of(file)
    assert not digests._read


def test_a_file_on_another_file_system_is_copied(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refused)
    sha256_of(file)
    copy_hashed(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"first"
