"""`prune` and `remove`: what is not served any more leaves the repository.

A folder leaves by one rename into ``removing/`` of the state folder; its records follow, and then its files are
deleted. A run that is killed in between is finished by the next one that changes anything: the name of the folder in
``removing/`` says what it was.
"""

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint.subject import Model
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.interrupted import ALL, REMOVING, finish_removal
from modelrepo.generator.repository.lifecycle import pins
from modelrepo.generator.repository.lifecycle.standing import Standing, Version, names
from modelrepo.generator.repository.lost import is_ours, unrecorded
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import OWN
from modelrepo.generator.system.files import sync_folder

REMOVE_IT = "Remove the folder yourself, if it is yours"
RECORDS_LOST = "its records are missing, and it stays: copy them here, or run `modelrepo versions --rebuild`"


@dataclass(frozen=True)
class Removal:
    """What leaves a model: versions, or all of it; ``bytes`` is what that frees."""

    name: str
    versions: tuple[int, ...]
    whole: bool
    bytes: int
    notes: tuple[str, ...] = ()
    step_of: str = ""  # the ensemble that it was made for, with which it goes


def pruned(model: Standing, *, keep: int | None = None, older_than: timedelta | None = None) -> Removal:
    """Plan to remove versions that are not served: all but the ``keep`` newest, or those made before a time.

    The newest version always stays, and so does what is not ours. A version that can't be served, for its folder was
    deleted or its files changed, takes no place of one that can: as many of those are kept as well. RepositoryError if
    it can't be known what is served.
    """
    if not model.ours:
        why = RECORDS_LOST if is_ours(model.config or "") else "it was not made by modelrepo and stays"
        return Removal(model.name, (), False, 0, (why,))
    if model.trouble:
        raise RepositoryError(
            f"can't tell which versions of {model.name} are served: {model.trouble}",
            f"Mend the configuration, or choose a version with `modelrepo promote {model.name} N`",
        )
    ours = [each for each in model.versions if each.manifest is not None]
    foreign = [each.number for each in model.versions if each.manifest is None]
    # Files whose times are not as recorded are read: no more of them than needed.
    usable = islice((each for each in reversed(ours) if not model.fault(each)), keep or 1)
    kept = {each.number for each in (*ours[-(keep or 1) :], *usable)}
    going = [each for each in ours if each.number not in kept and not each.served and _is_old(each, older_than)]
    needed = {pin.version: pin for pin in pins.kept(Repository(model.folder.parent), model.name)} if going else {}
    notes = (
        *(f"version {number} was not made by modelrepo and stays" for number in foreign),
        *(f"version {each.number} stays: {needed[each.number]}" for each in going if each.number in needed),
    )
    going = [each for each in going if each.number not in needed]
    return Removal(
        model.name, tuple(each.number for each in going), whole=False, bytes=sum(map(_size, going)), notes=notes
    )


def with_steps(repository: Repository, chosen: Collection[str]) -> list[str]:
    """Return models that are to be removed, each behind those that call it, and the models made for their steps.

    A model of a step that something else needs stays.
    """
    made = {each for name in chosen for each in _made_for(repository, name)} - {*chosen}
    while staying := {name for name in made if _need(repository, name, {*chosen, *made})}:
        made -= staying
    first = sorted(chosen, key=lambda name: not any(pins.by(repository, name)))
    return [*first, *sorted(made, key=lambda name: not any(pins.by(repository, name)))]


def removed(model: Standing, repository: Repository, going: Collection[str] = ()) -> Removal:
    """Plan to remove a whole model, of those that are ``going`` with it.

    RepositoryError if it is not ours, or if an ensemble calls it that stays.
    """
    if not model.ours:
        error = unrecorded(repository.root, repository.state, model.name, model.config)
        raise RepositoryError(error.message, error.hint if is_ours(model.config or "") else REMOVE_IT)
    need = _need(repository, model.name, going)
    if need:
        raise need
    versions = tuple(each.number for each in model.versions)
    steps = [name for name in sorted(_made_for(repository, model.name)) if name not in going]
    whole = next((name for name in going if model.name.startswith(f"{name}{OWN}")), "")
    return Removal(
        model.name,
        versions,
        whole=True,
        bytes=sum(map(_size, model.versions)),
        notes=tuple(f"{name} stays: {need.message}" for name in steps if (need := _need(repository, name, going))),
        step_of=whole,
    )


def _made_for(repository: Repository, name: str) -> set[str]:
    """Return the models that were made for the steps of a model's versions, and are there."""
    there = {*names(repository)}
    return {pin.model for pin in pins.by(repository, name) if pin.model.startswith(f"{name}{OWN}")} & there


def _need(repository: Repository, name: str, going: Collection[str]) -> RepositoryError | None:
    """Return why a model can't be removed with those that are going: another ensemble calls it; None if it can be."""
    others = [each for each in names(repository) if each != name and each not in going]
    caller = next((each for each in others if name in _called(repository, each)), None)
    if caller:
        return RepositoryError(f"the ensemble {caller} calls {name}", f"Remove {caller} first")
    pin = next((pin for pin in pins.kept(repository, name) if pin.ensemble in others), None)
    return RepositoryError(str(pin), f"Remove or prune {pin.ensemble} first") if pin else None


def carried_out(repository: Repository, removal: Removal) -> None:
    """Remove what was planned; call it with the lock held."""
    model = repository.root / removal.name
    if removal.whole:
        PlanStore(repository).forget(removal.name)
    going = [(ALL, model)] if removal.whole else [(str(each), model / str(each)) for each in removal.versions]
    for what, folder in going:
        aside = repository.state / REMOVING / f"{what}.{uuid.uuid4().hex}.{removal.name}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(aside)
            sync_folder(folder.parent)
        else:
            aside.mkdir()  # its records are still to be removed
        try:
            finish_removal(repository.state, aside)
        except OSError as error:
            raise RepositoryError(
                f"{removal.name}: what was removed can't be deleted: {error.strerror}: {error.filename}",
                "The next command that changes the repository tries again",
            ) from error


def _is_old(version: Version, older_than: timedelta | None) -> bool:
    if older_than is None or version.manifest is None:
        return True
    return datetime.now(UTC) - datetime.fromisoformat(version.manifest.created) > older_than


def _size(version: Version) -> int:
    """Return the bytes of a version's own files, as its record says."""
    if version.manifest is None or not version.there:
        return 0
    return sum(file.size for name, file in version.manifest.files.items() if "/" in name)


def _called(repository: Repository, name: str) -> Iterator[str]:
    """Yield the models that an ensemble calls."""
    config = Model(name, repository.root / name).config
    if config is not None and config.message is not None:
        yield from (step.model_name for step in config.message.ensemble_scheduling.step)
