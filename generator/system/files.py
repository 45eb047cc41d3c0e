"""Replacing and copying files, so that readers see the old or the new file, and never a part."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SECOND = 1_000_000_000  # in nanoseconds, as the times of files
# Another process that has just ended may remove a folder, because it is empty, before anything is in it.
ATTEMPTS = 100


def make_folder(path: Path) -> None:
    """Create a folder and its parents, while other processes may be removing them because they are empty."""
    for attempt in range(ATTEMPTS):
        try:
            path.mkdir(parents=True, exist_ok=True)
            return
        except (FileNotFoundError, FileExistsError):
            if attempt == ATTEMPTS - 1 or path.is_file():
                raise


def replace_text(path: Path, text: str) -> None:
    """Replace a file with text as UTF-8, line ends unchanged; after an OSError the old file is still there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield an empty file beside ``path`` that replaces it when the block ends; after an error nothing has changed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_copy(source: Path, target: Path) -> None:
    """Replace a file with a copy of another; after an OSError the old file is still there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    try:
        shutil.copyfile(source, temporary)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_undoably(target: Path, source: Path, undo: ExitStack) -> None:
    """Replace ``target`` with ``source`` by renames, and push the reverse steps onto ``undo``."""
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
    """Make ``target`` a hard link to ``source``, or a copy if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync_tree(folder: Path) -> None:
    """Flush everything below a folder to disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest_time(folder: Path) -> int:
    """Return the newest time of a folder and all that is in it, in nanoseconds; 0 if it is not there.

    It is the later one of a file's two times, as Triton reads them: its content's and its inode's.
    """
    stats = [path.stat() for path in (folder, *folder.rglob("*")) if path.exists()]
    return max((max(each.st_mtime_ns, each.st_ctime_ns) for each in stats), default=0)


def make_newer(file: Path, newest: int) -> None:
    """Give a file a time after ``newest``, if it has none: Triton sees a change only where the newest time has grown.

    A file from a machine whose clock was ahead would hide all changes until then.
    """
    if file.stat().st_mtime_ns <= newest:
        now = time.time_ns()
        later = now if now > newest else newest + SECOND
        os.utime(file, ns=(later, later))
