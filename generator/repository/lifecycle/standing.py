"""What is published: each model's versions, which of them are served, and what is known of them."""

import fnmatch
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.errors import OptionError, RepositoryError, nearest
from modelrepo.generator.repository import choice
from modelrepo.generator.repository.choice import Choice
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import policy
from modelrepo.generator.repository.lost import MISSING, is_ours
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository

NOT_OURS = "not made by modelrepo: it has no record"


@dataclass(frozen=True)
class Version:
    """A version of a model: its folder, its record, or both.

    ``intact`` is None if its files were only looked for, and not read. ``note`` says what is wrong.
    """

    number: int
    served: bool
    manifest: Manifest | None  # None: there is no record of it
    there: bool  # whether its folder is
    intact: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Standing:
    """A model of the repository, with its versions in ascending order.

    ``trouble`` says why nothing is known of what is served: a configuration that is missing or can't be parsed.
    """

    name: str
    folder: Path
    versions: tuple[Version, ...]
    config: str | None  # in force
    choice: Choice | None
    edited: tuple[Path, ...]
    trouble: str = ""

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that Triton serves."""
        return tuple(each.number for each in self.versions if each.served)

    @property
    def ours(self) -> bool:
        """Whether modelrepo made any of it."""
        return any(each.manifest for each in self.versions)

    def fault(self, version: Version) -> str:
        """Return why a version can't be served; empty if it can. Files are read if their times are not as recorded."""
        if version.manifest is None or not version.there or version.note:
            return version.note
        return "" if version.manifest.is_intact(self.folder) else "its files changed since it was published"

    def version(self, number: int) -> Version:
        """Return a version; RepositoryError if there is none of this number."""
        found = next((each for each in self.versions if each.number == number), None)
        if found is None:
            there = ", ".join(str(each.number) for each in self.versions)
            raise RepositoryError(f"{self.name} has no version {number}", f"It has {there or 'none'}")
        return found


def opened(root: Path) -> Repository:
    """Return a repository that is there; RepositoryError if it is not."""
    repository = Repository(root)
    if not repository.root.is_dir():
        raise RepositoryError(f"can't find the repository {root}", "Name one with --repository, or run generate first")
    return repository


def names(repository: Repository) -> list[str]:
    """Return the names of the models with a record or a folder, sorted."""
    records = repository.state / "manifests"
    recorded = [each.name for each in records.iterdir() if any(each.glob("*.json"))] if records.is_dir() else []
    return sorted({*recorded, *repository.models()})


def matching(repository: Repository, patterns: Iterable[str]) -> list[str]:
    """Return the models that names or patterns such as ``bert_*`` stand for; RepositoryError for one without any."""
    known, found = names(repository), dict[str, None]()
    for pattern in patterns:
        matches = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not matches and pattern != "*":
            raise _unknown(repository, pattern)
        found |= dict.fromkeys(matches)
    return list(found)


def standing(repository: Repository, name: str, *, verify: bool = False) -> Standing:
    """Return what is known of a model; ``verify`` reads its files again. RepositoryError if there is no such model."""
    if Path(name).name != name or name in ("", ".."):  # a path is not a name
        raise _unknown(repository, name)
    folder = repository.root / name
    records = {each.version: each for each in repository.manifests(name)}
    there = repository.folders(name)
    if not records and not folder.is_dir():
        raise _unknown(repository, name)
    text = repository.config_text(name)
    edited = repository.edited(records[max(records)], records.values()) if records else ()
    served: tuple[int, ...] = ()
    trouble = "" if text is not None else f"it has no {CONFIG}"
    try:
        by_hand = not records or folder / CONFIG in edited
        served = policy.served(text, there, edited=by_hand) if text is not None else ()
    except OptionError as error:
        trouble = error.message
    unrecorded = MISSING if text is not None and not records and is_ours(text) else NOT_OURS
    versions = (
        _version(number, number in served, records[number], folder if number in there else None, verify=verify)
        if number in records
        else Version(number, number in served, None, there=True, note=unrecorded)
        for number in sorted({*records, *there})
    )
    return Standing(name, folder, tuple(versions), text, choice.read(text or ""), edited, trouble)


def standings(repository: Repository, asked: Collection[str] = (), *, verify: bool = False) -> Iterator[Standing]:
    """Yield the models that are asked for, or all; RepositoryError for one that is not there."""
    for name in asked or names(repository):
        yield standing(repository, name, verify=verify)


def numbered(versions: Iterable[int]) -> str:
    """Return versions in words."""
    found = [str(each) for each in versions]
    return f"version{'s' * (len(found) > 1)} {', '.join(found)}" if found else "no version"


def _version(number: int, served: bool, record: Manifest, folder: Path | None, *, verify: bool) -> Version:
    if folder is None:
        return Version(number, served, record, there=False, intact=False, note="its folder is missing")
    missing = next((name for name in record.files if not (folder / name).is_file()), None)
    if missing is not None:
        return Version(number, served, record, there=True, intact=False, note=f"{missing} is missing")
    if not verify:
        return Version(number, served, record, there=True)
    changed = list(_changed(record, folder))
    note = f"{changed[0]} changed since it was published" if changed else ""
    return Version(number, served, record, there=True, intact=not changed, note=note)


def _changed(record: Manifest, folder: Path) -> Iterable[str]:
    """Yield the version's own files whose content is another; they are read, whatever their times say."""
    from modelrepo.generator.system.digests import sha256_of

    own = {name: file for name, file in record.files.items() if name not in record.sidecars}
    return (name for name, file in own.items() if sha256_of(folder / name) != file.sha256)


def _unknown(repository: Repository, name: str) -> RepositoryError:
    known = names(repository)
    return RepositoryError(f"{repository.root} has no model {name!r}", nearest(name, known) if known else "It is empty")
