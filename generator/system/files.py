"""Files on disk, replaced so that whoever reads them sees the old or the new one, and never a part."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, line ends as they are, in place of a file; OSError leaves what was there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_copy(source: Path, target: Path) -> None:
    """Copy a file to the place of another; OSError leaves what was there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    try:
        shutil.copyfile(source, temporary)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_undoably(target: Path, source: Path, undo: ExitStack) -> None:
    """Put ``source`` in the place of ``target`` by renames, and push what takes that back onto ``undo``."""
    if target.is_dir() or not target.exists():
        if target.exists():
            old = source.with_name(f"{source.name}.replaced")
            target.rename(old)
            undo.callback(old.rename, target)
        source.rename(target)
        undo.callback(target.rename, source)
    else:
        old = source.with_name(f"{source.name}.replaced")
        shutil.copy2(target, old)
        source.replace(target)  # in one step: Triton may be reading
        undo.callback(old.replace, target)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync_tree(folder: Path) -> None:
    """Have the disk keep all that is below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the disk keep which entries a folder has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
