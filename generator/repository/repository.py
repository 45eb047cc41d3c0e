"""The model repository on disk: layout, versions, lock, staging and atomic publishing.

The repository's root holds only served models, because Triton takes every folder there for a model. Everything else is
next to it, on the same file system, in ``.modelrepo/<name of the root>/``::

    lock                      serialises writers
    staging/<run>/            files that a run has not published yet
    manifests/<model>/1.json  one for each published version
    plans.lock, plans/        plans that are still to be built
    golden/<model>/1.json     requests with known answers, and 1.<digest>.npz, for `modelrepo smoke`
    replaced/<model>/         files that were edited by hand, and then replaced
    publishing/, removing/    what is being moved in or out: interrupted.py finishes it after a kill
"""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from filelock import Timeout

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.repository import choice, interrupted, lost
from modelrepo.generator.repository import manifest as manifests
from modelrepo.generator.repository.choice import Choice
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.manifest import Manifest, Provenance
from modelrepo.generator.system.digests import FileRecord, content_of
from modelrepo.generator.system.files import (
    make_folder,
    make_newer,
    newest_time,
    replace_undoably,
    sync_folder,
    sync_tree,
)
from modelrepo.generator.system.interrupts import interrupts_kept_back
from modelrepo.generator.system.locks import locked_in_its_folder
from modelrepo.generator.system.supervised import removed_if_killed
from modelrepo.generator.triton import pbtxt

LOCK_TIMEOUT_SECONDS = 60.0
LARGEST_VERSION = 2**63 - 1


class StagedConfig(Protocol):
    """The config.pbtxt of a staged model."""

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form."""

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version that joins the ``existing`` ones in the model's folder."""


@dataclass(frozen=True)
class StagedModel:
    """A model that is ready to be published from ``folder``, a folder of its own with a version folder in it.

    ``files`` records what is in it, by relative path. The version's number is certain only once the lock is held:
    ``version`` is the one that the folder has now, and ``preview`` the text of config.pbtxt for it. ``older`` has the
    folders of the versions that will stay beside it.
    """

    name: str
    backend: str
    folder: Path
    files: Mapping[str, FileRecord]
    config: StagedConfig
    preview: str
    provenance: Provenance
    version: int
    older: Mapping[int, Path]
    # Called with the number of the version before it is committed, with the lock held.
    before_commit: Callable[[int], None] = lambda version: None


@dataclass(frozen=True)
class Published:
    """The result of publishing a staged model."""

    status: Literal["published", "unchanged"]
    manifest: Manifest
    notes: tuple[str, ...] = ()


class Repository:
    """A model repository and its state folder. Making a Repository and ``preflight`` change nothing on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve() if root.exists() else root.absolute()
        self.state = self.root.parent / ".modelrepo" / self.root.name

    # --- reading

    def preflight(self, name: str) -> None:
        """Raise RepositoryError if publishing under this name is certain to fail; cheap."""
        if self.root.exists() and not self.root.is_dir():
            raise RepositoryError(f"the repository {self.root} is a file", "Name a folder with --repository")
        if self.root.is_symlink():
            raise RepositoryError(f"the repository {self.root} is a broken link", "Create the folder it points to")
        existing = next(folder for folder in (self.root.parent, *self.root.parent.parents) if folder.exists())
        for folder in (existing, self.root):
            if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                raise RepositoryError(f"can't write in {folder}", "Name another folder with --repository")
        if self.root.exists() and self.root.stat().st_dev != self.root.parent.stat().st_dev:
            raise RepositoryError(
                f"{self.root} is a mount point, so models can't be moved into it in one step",
                f"Use a folder inside it: --repository {self.root / 'models'}",
            )
        self._refuse_foreign(name)

    def _refuse_foreign(self, name: str) -> None:
        folder = self.root / name
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not self.manifests(name))):
            raise lost.unrecorded(self.root, self.state, name, self.config_text(name) if folder.is_dir() else None)

    def manifests(self, name: str) -> list[Manifest]:
        """Return the manifests of a model's published versions, oldest first."""
        files = [file for file in (self.state / "manifests" / name).glob("*.json") if file.stem.isdecimal()]
        return [manifests.read(file) for file in sorted(files, key=lambda file: int(file.stem))]

    def newest(self, name: str) -> Manifest | None:
        """Return the newest published version if it is intact in the repository."""
        known = self.manifests(name)
        return known[-1] if known and known[-1].is_intact(self.root / name) else None

    def config_text(self, name: str) -> str | None:
        """Return the configuration in force, or None if there is none; RepositoryError if it can't be read."""
        try:
            return (self.root / name / CONFIG).read_text("utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:  # a folder, or a circle of links
            raise RepositoryError(
                f"can't read {self.root / name / CONFIG}: {error.strerror}", "Move it away, and run generate again"
            ) from error

    def choice(self, name: str) -> Choice | None:
        """Return the operator's choice of the versions that are served; None if the newest is, as it was published."""
        return choice.read(self.config_text(name) or "")

    def folders(self, name: str) -> dict[int, Path]:
        """Return the folders of the versions that Triton finds: it looks in the folder that the number names."""
        folders = {version: self.root / name / str(version) for version in self.versions(name)}
        return {version: folder for version, folder in folders.items() if folder.is_dir()}

    def entries(self, name: str) -> dict[str, Path]:
        """Return what lies in the model's folder beside its configuration, by name."""
        folder = self.root / name
        return {each.name: each for each in (folder.iterdir() if folder.is_dir() else ()) if each.name != CONFIG}

    def models(self) -> dict[str, Path]:
        """Return the folders that Triton takes for models, by name."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else ()
        return {each.name: each for each in folders if each.is_dir() and not each.name.startswith(".")}

    def versions(self, name: str) -> set[int]:
        """Return the numbers of the versions in the model's folder."""
        folder = self.root / name
        # Triton reads the leading digits of a folder's name, so "2.tmp" is version 2 as well.
        digits = [re.match(r"\s*\+?(\d+)", entry.name) for entry in (folder.iterdir() if folder.is_dir() else ())]
        numbers = {int(match.group(1)) for match in digits if match}
        if max(numbers, default=0) > LARGEST_VERSION:
            raise RepositoryError(
                f"{folder} holds the version folder {max(numbers)}, which makes Triton abort", "Move it away"
            )
        return numbers

    def next_version(self, name: str) -> int:
        """Return a number above every version in the model's folder and every version with a manifest."""
        return max({0, *self.versions(name), *(manifest.version for manifest in self.manifests(name))}) + 1

    # --- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Provide an empty folder on the repository's file system, and remove it and its traces afterwards."""
        base = self.state / "staging"
        made = make_folders(base)
        folder = base / uuid.uuid4().hex
        try:
            interrupted.sweep(base)
            # Another process that sweeps may hold it for a moment.
            with locked_in_its_folder(Path(f"{folder}.lock"), LOCK_TIMEOUT_SECONDS), removed_if_killed(folder):
                folder.mkdir()
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                    with suppress(OSError):  # it has done its work: what can't be removed is swept later
                        Path(f"{folder}.lock").unlink()
        finally:
            with suppress(OSError):  # not empty: other runs are staging, or something was published
                base.rmdir()
                for created in reversed(made[:-1]):
                    created.rmdir()

    @contextmanager
    def locked(self, *, interruptible: bool = False) -> Iterator[None]:
        """Hold the repository's lock; interrupts are kept back until it is released, unless they are let through.

        What killed runs left is finished or undone first. RepositoryError for an error of the operating system.
        """
        try:
            with locked_in_its_folder(self.state / "lock", LOCK_TIMEOUT_SECONDS), ExitStack() as held:
                if not interruptible:
                    held.enter_context(interrupts_kept_back())
                interrupted.recover(self.root, self.state)
                yield
        except Timeout:
            raise RepositoryError(
                f"another process has been publishing in {self.root} for {LOCK_TIMEOUT_SECONDS:.0f} seconds",
                "Wait for it, then run the command again",
            ) from None
        except OSError as error:
            if error.errno is None:  # a library's, and not about a file
                raise
            raise RepositoryError(f"{error.strerror}: {error.filename or self.root}") from error

    def recover(self) -> None:
        """Finish or undo what killed runs left, if they left anything."""
        if interrupted.is_left(self.state):
            with self.locked():
                pass

    def publish(self, staged: StagedModel) -> Published:
        """Make a staged model the served version; call it with the lock held.

        The version folder appears by one rename and ``config.pbtxt`` is replaced last, so Triton sees the whole version
        or nothing. Content that is already published makes no new version.
        """
        self._refuse_foreign(staged.name)
        newest, existing = self.newest(staged.name), self.versions(staged.name)
        same_files = newest is not None and newest.content() == content_of(staged.files)
        if newest and same_files:
            text = staged.config.text(newest.version, existing)
            if newest.config == text:
                return self._refresh(staged, newest)
            if pbtxt.differ_in_policy(newest.config, text):
                return self._serve_others(staged, newest, text)
        version = self.next_version(staged.name)
        _number(staged.folder, version)
        manifest = Manifest(
            name=staged.name,
            version=version,
            backend=staged.backend,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            max_batch_size=staged.config.max_batch_size,
            config=staged.config.text(version, existing),
            files={_numbered(name, version): record for name, record in staged.files.items()},
            provenance=staged.provenance,
        )
        (staged.folder / CONFIG).write_text(manifest.config, "utf-8")
        notes = self._keep_edits(staged.name)
        sync_tree(staged.folder)
        self._commit(staged, manifest)
        return Published("published", manifest, notes)

    def _refresh(self, staged: StagedModel, newest: Manifest) -> Published:
        """Record how published content was made and proven this time; restore a missing configuration."""
        manifest = replace(newest, provenance=self._proof(staged, newest))
        if staged.provenance.verification.passed is not None:
            staged.before_commit(newest.version)
        self.write(self._manifest_path(manifest), manifest.to_json())
        return self.activate(manifest.name) or Published("unchanged", manifest)

    def _proof(self, staged: StagedModel, newest: Manifest) -> Provenance:
        """Return how published files were made and proven; a run without verification keeps the earlier proof."""
        better = staged.provenance.verification.passed is not None or newest.provenance.rebuilt
        return staged.provenance if better else replace(newest.provenance, key=staged.provenance.key)

    def _serve_others(self, staged: StagedModel, newest: Manifest, config: str) -> Published:
        """Put a configuration in force that serves other versions; the files are there, so that none is added."""
        manifest = replace(newest, config=config, provenance=self._proof(staged, newest))
        path, place = self._manifest_path(manifest), self.root / manifest.name / CONFIG
        old = self.config_text(manifest.name) or ""
        with (
            self._beside(path, manifest.to_json().encode()) as record,
            self._beside(place, old.encode("utf-8", errors="surrogateescape")) as before,
        ):
            # A run that was killed before its record was in place has replaced it already.
            notes = self.replace_config(newest.name, config) if old != config else ()
            try:
                record.replace(path)
                sync_folder(path.parent)
            except OSError:
                with suppress(OSError):
                    before.replace(place)
                raise
        return Published("published", manifest, (*notes, "no new version: only the version policy is another"))

    def in_force(self, manifest: Manifest) -> bool:
        """Whether Triton serves this version: its configuration, or one edited by hand, is in place."""
        current = self.config_text(manifest.name)
        others = {other.config for other in self.manifests(manifest.name)} - {manifest.config}
        return current is not None and (current == manifest.config or current not in others)

    def edited(self, manifest: Manifest, known: Collection[Manifest] = ()) -> tuple[Path, ...]:
        """Return the files next to the version folders that were edited by hand since this version was published.

        ``known`` are the manifests of all versions, if they were read already.
        """
        folder = self.root / manifest.name
        edited = [folder / name for name, record in manifest.sidecars.items() if not record.matches(folder / name)]
        text = self.config_text(manifest.name)
        known = known or self.manifests(manifest.name)
        ours = text is None or choice.read(text) or text in {each.config for each in known}
        if not ours:
            edited.append(folder / CONFIG)
        return tuple(file for file in edited if file.exists())

    def activate(self, name: str) -> Published | None:
        """Put the newest version's configuration in force, if another's is; call it with the lock held."""
        newest = self.newest(name)
        if newest is None or self.in_force(newest):
            return None
        self.write(self.root / name / CONFIG, newest.config)
        return Published("published", newest, ("its files were already in the repository",))

    def _commit(self, staged: StagedModel, manifest: Manifest) -> None:
        """Move a staged model in: the manifest first, the version by one rename, the configuration last.

        Triton serves the old version until the configuration is replaced, so every earlier move can be undone. It is
        moved from a folder whose name tells the next run of a kill, which undoes it, or finishes it once the version
        is there.
        """
        target = self.root / manifest.name
        coming = self.state / interrupted.PUBLISHING / f"{manifest.version}.{manifest.name}"
        undo = ExitStack()
        try:
            coming.parent.mkdir(exist_ok=True)
            staged.folder.rename(coming)
            undo.callback(coming.rename, staged.folder)
            undo.callback(interrupted.forget, self.state, manifest.name, str(manifest.version))
            staged.before_commit(manifest.version)
            self.write(self._manifest_path(manifest), manifest.to_json())
            self.root.mkdir(parents=True, exist_ok=True)
            if not target.exists() or not any(target.iterdir()):
                coming.rename(target)
                undo.callback(target.rename, coming)
            else:
                for entry in sorted(coming.iterdir(), key=_moves_in):
                    replace_undoably(target / entry.name, entry, undo)
            sync_folder(target)
            sync_folder(self.root)
        except BaseException:
            undo.close()
            raise
        interrupted.clear(coming)

    def _keep_edits(self, name: str, *, config_only: bool = False) -> tuple[str, ...]:
        """Copy files that were edited by hand to a safe place before they are replaced."""
        known = self.manifests(name)
        kept = []
        edited = self.edited(known[-1]) if known else ()
        for file in (each for each in edited if each.name == CONFIG or not config_only):
            copy = self.replaced_folder(name) / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
            kept.append(f"{file.name} was edited by hand; the edited file is kept as {copy}")
        return tuple(kept)

    def replace_config(self, name: str, config: str) -> tuple[str, ...]:
        """Put a configuration in force in one step; call it with the lock held. Notes tell of edits that are kept."""
        notes = self._keep_edits(name, config_only=True)
        newest = newest_time(self.root / name)
        self.write(self.root / name / CONFIG, config)
        make_newer(self.root / name / CONFIG, newest)
        return notes

    def replaced_folder(self, name: str) -> Path:
        """Return the path of a new folder for a model's replaced files."""
        return self.state / "replaced" / name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")

    def golden_folder(self, name: str) -> Path:
        """Return the path of the folder with the golden requests of a model's versions."""
        return self.state / "golden" / name

    def records(self, name: str) -> tuple[Path, ...]:
        """Return the folders of a model's records, one file or more a version: N.json, N.npz; they may not exist."""
        return tuple(self.state / kind / name for kind in interrupted.RECORDS)

    def record(self, manifest: Manifest) -> None:
        """Write the record of a version; call it with the lock held."""
        self.write(self._manifest_path(manifest), manifest.to_json())

    def _manifest_path(self, manifest: Manifest) -> Path:
        return self.state / "manifests" / manifest.name / f"{manifest.version}.json"

    def write(self, path: Path, content: str | bytes) -> None:
        """Replace a file in one step; it is first written in the state folder, where Triton does not look.

        After an OSError the old file is there, also if it comes from flushing the new one's entry.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8", errors="surrogateescape") if isinstance(content, str) else content
        with self._beside(path, data) as new:
            old = path.read_bytes() if path.exists() else None
            with self._beside(path, old or b"") as before:
                new.replace(path)
                try:
                    sync_folder(path.parent)
                except OSError:
                    with suppress(OSError):
                        path.unlink() if old is None else before.replace(path)
                    raise

    @contextmanager
    def _beside(self, path: Path, data: bytes) -> Iterator[Path]:
        """Provide a file in the state folder that may replace ``path``, and remove it afterwards if it is still there.

        What can't be removed is removed by the next writer.
        """
        temporary = self.state / f".{path.name}.{uuid.uuid4().hex}"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _numbered(name: str, version: int) -> str:
    folder, slash, rest = name.partition("/")
    return f"{version}/{rest}" if slash else folder


def _moves_in(entry: Path) -> tuple[bool, bool]:
    """Return the place of an entry of a staged model: the version comes first, the configuration last."""
    return entry.name == CONFIG, not entry.is_dir()


def _number(folder: Path, version: int) -> None:
    current = next(entry for entry in folder.iterdir() if entry.is_dir())
    if current.name != str(version):
        current.rename(folder / str(version))


def make_folders(path: Path) -> list[Path]:
    """Create a folder and its parents; return those that were missing, outermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()][::-1]
    make_folder(path)
    return missing
