"""What killed runs left in the state folder: the next writer, which holds the lock, finishes it or undoes it.

Every step that a kill can tear in two leaves a folder whose name says what it was::

    publishing/2.resnet50/        what is still to be moved into the model's folder, if version 2 is there already
    removing/2.HEX.resnet50/      files of a removed version; ``all`` instead of 2: of a whole model
    staging/HEX/, staging/HEX.lock
    .NAME.HEX                     a file that was not yet moved to its place
"""

import json
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.system.files import sync_folder
from modelrepo.generator.system.locks import lock_of

PUBLISHING, REMOVING, STAGING = "publishing", "removing", "staging"
# Of a whole model, in the name of its folder in ``removing/``.
ALL = "all"
# Kinds of records: a folder for each model, and in it a file or more for each version, such as 2.json.
RECORDS = ("manifests", "golden")
# A copy of what was replaced, kept for the case that the replacing fails.
REPLACED = ".replaced"
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


def is_left(state: Path) -> bool:
    """Whether killed runs may have left anything; runs that are still going are taken for such, too."""
    names = {entry.name for entry in state.iterdir()} if state.is_dir() else set[str]()
    return not names.isdisjoint((PUBLISHING, REMOVING, STAGING)) or any(map(TEMPORARY.fullmatch, names))


def recover(root: Path, state: Path) -> None:
    """Finish or undo what killed runs left; call it with the lock held."""
    for folder in _entries(state / PUBLISHING):
        number, _, name = folder.name.partition(".")
        if (root / name / number).is_dir():
            move_in(folder, root / name)
            sync_folder(root / name)
        else:
            forget(state, name, number)
        remove_folder(folder)
    for folder in _entries(state / REMOVING):
        finish_removal(state, folder)
    for kind in (PUBLISHING, REMOVING):
        with suppress(OSError):  # not empty, or not there
            (state / kind).rmdir()
    sweep(state / STAGING)
    for entry in _entries(state):
        if TEMPORARY.fullmatch(entry.name):
            place = _place(root, state, entry)
            entry.replace(place) if place else entry.unlink()


def _place(root: Path, state: Path, temporary: Path) -> Path | None:
    """Return the place of a version's new record if its configuration is in force already; None for all else.

    A version policy changes both, the configuration first.
    """
    number = temporary.name.split(".")[1]
    try:
        document = json.loads(temporary.read_text("utf-8"))
        place = state / "manifests" / document["name"] / f"{number}.json"
        in_force = (root / document["name"] / CONFIG).read_text("utf-8", errors="surrogateescape")
        return place if in_force == document["config"] and place.exists() else None
    except (OSError, ValueError, KeyError, TypeError):  # it is another file, or half of one
        return None


def move_in(staged: Path, target: Path) -> None:
    """Move what is left of a staged model into the model's folder, the configuration last."""
    for entry in sorted(staged.iterdir(), key=lambda entry: entry.name == CONFIG):
        if not entry.name.endswith(REPLACED):
            entry.replace(target / entry.name)


def finish_removal(state: Path, aside: Path) -> None:
    """Remove the records of what lies aside, and then its files."""
    what, _, name = aside.name.split(".", 2)
    forget(state, name, None if what == ALL else what)
    remove_folder(aside)


def forget(state: Path, name: str, version: str | None) -> None:
    """Remove the records of a version, or of a whole model, and their folder with the last one."""
    for kind in RECORDS:
        records = state / kind / name
        for file in _entries(records):
            if version is None or file.name.partition(".")[0] == version:
                file.unlink()
        if records.is_dir() and not any(records.iterdir()):
            records.rmdir()


def sweep(base: Path) -> None:
    """Remove staging folders that killed runs left: those whose lock is free, or removed as a run's last step."""
    for lock in base.glob("*.lock"):
        with suppress(Timeout), lock_of(lock, timeout=0):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
    for folder in _entries(base):
        if folder.suffix != ".lock" and not folder.with_name(f"{folder.name}.lock").exists():
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not empty, or not there
        base.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove a folder with what is in it, and the one above it if that is empty then."""
    shutil.rmtree(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def clear(folder: Path) -> None:
    """Remove a folder that nobody needs any more, as far as that is possible; the next writer tries again."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not empty
        folder.parent.rmdir()


def _entries(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()
