"""`rollback` and `promote`: other versions are served. The one step that commits is the replacement of config.pbtxt."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused, warnings_of
from modelrepo.generator.repository import choice
from modelrepo.generator.repository.choice import Choice
from modelrepo.generator.repository.lifecycle import pins, policy
from modelrepo.generator.repository.lifecycle.standing import Standing, Version, numbered, standing
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.triton.releases import NEWEST, release_named


@dataclass(frozen=True)
class Change:
    """What `rollback` or `promote` does: the versions that are served before and after it, and the configurations.

    ``old`` is None if there was no configuration. ``changes`` is whether anything has to be done.
    """

    name: str
    verb: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    old: str | None
    new: str
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the configuration in force is another one."""
        return self.old is None or _unmarked(self.old) != _unmarked(self.new)


def _unmarked(config: str) -> str:
    return config.partition("\n")[2] if choice.read(config) else config


def rolled_back(model: Standing, to: int | None = None) -> Change:
    """Plan to serve an earlier version: ``to``, or the newest usable one below the newest that is served.

    Raises RepositoryError if there is none, or if it can't be served.
    """
    if to is None:
        newest = max(model.served, default=0) or max((each.number for each in model.versions), default=0) + 1
        earlier = [each.number for each in model.versions if each.number < newest and not model.fault(each)]
        if not earlier:
            before = f" before {newest}" if model.served else ""
            raise RepositoryError(f"{model.name} has no version{before} to roll back to", _why_none(model, newest))
        to = earlier[-1]
    return _planned(model, "rollback", (to,))


def promoted(model: Standing, versions: Collection[int]) -> Change:
    """Plan to serve these versions. RepositoryError if one is not there, not ours, or not as it was published."""
    return _planned(model, "promote", tuple(sorted({*versions})))


def applied(repository: Repository, change: Change) -> Change:
    """Commit a change; call it with the lock held. Returns it with the notes of what was kept and what Triton warns of.

    Raises RepositoryError before anything is replaced, if Triton would refuse the model.
    """
    warnings = judge(repository, change)
    if not change.changes:
        return replace(change, notes=(*change.notes, *warnings))
    kept = repository.replace_config(change.name, change.new)
    return replace(change, notes=(*change.notes, *warnings, *kept))


def judge(repository: Repository, change: Change) -> tuple[str, ...]:
    """Return the warnings of what Triton will make of a change; RepositoryError if it would refuse the model."""
    newest = repository.manifests(change.name)[-1]
    release = str(newest.provenance.options.get("target_release") or NEWEST)
    candidate = Candidate(change.name, change.new, repository.entries(change.name), beside=repository.models())
    with repository.staging() as scratch:
        found = judged(candidate, Host(release_named(release)), scratch)
    refuse_refused(found)
    return warnings_of(found)


def again(repository: Repository, change: Change) -> Change:
    """Return a change for what stands now: another process may have published since it was planned."""
    model = standing(repository, change.name)
    planned = _planned(model, change.verb, change.after)
    return replace(planned, notes=tuple(dict.fromkeys((*change.notes, *planned.notes))))


def _planned(model: Standing, verb: str, versions: tuple[int, ...]) -> Change:
    records = [_record(model, model.version(number)) for number in versions]
    versions, notes = _with_pinned(model, versions)
    config = policy.serving(records[-1].config, versions)
    _refuse_unserved(model, config)
    newest = max(each.number for each in model.versions)
    if versions != (newest,) or config != records[-1].config:
        config = choice.marked(config, Choice(verb, versions, model.served, choice.now()))
    return Change(model.name, verb, model.served, versions, model.config, config, notes)


def _refuse_unserved(model: Standing, config: str) -> None:
    """Refuse a configuration of an ensemble that needs versions of models which are not served."""
    repository = Repository(model.folder.parent)
    for pin in pins.of_config(model.name, config):
        called = standing(repository, pin.model)
        if pin.version in called.served:
            continue
        if pin.version not in {each.number for each in called.versions if each.there}:
            raise RepositoryError(f"{pin}, which is not there any more", f"It has {_numbers_in(called)}")
        together = ",".join(str(each) for each in sorted({pin.version, *called.served}))
        raise RepositoryError(f"{pin}, which is not served", f"`modelrepo promote {pin.model} {together}` serves it")


def _numbers_in(model: Standing) -> str:
    """Return the versions of a model that are there, in words."""
    return numbered(each.number for each in model.versions if each.there)


def _with_pinned(model: Standing, versions: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return versions with those that ensembles need, and a note for each of these.

    RepositoryError for one above them: it would go on answering the clients that name no version.
    """
    needed = [pin for pin in pins.in_force(Repository(model.folder.parent), model.name) if pin.version not in versions]
    above = next((pin for pin in needed if pin.version > max(versions)), None)
    if above:
        raise RepositoryError(
            f"{above}, which would go on answering in place of {max(versions)}",
            f"Roll {above.ensemble} back first, or remove it",
        )
    there = {each.number for each in model.versions if each.there}
    needed = [pin for pin in needed if pin.version in there]
    notes = tuple(dict.fromkeys(f"version {pin.version} stays served: {pin}" for pin in needed))
    return tuple(sorted({*versions, *(pin.version for pin in needed)})), notes


def _record(model: Standing, version: Version) -> Manifest:
    """Return the record of a version that can be served; RepositoryError if it can't be."""
    fault = model.fault(version)
    if version.manifest is None or fault:
        raise RepositoryError(
            f"version {version.number} of {model.name} can't be served: {fault}", _kept(model, version.number)
        )
    return version.manifest


def _why_none(model: Standing, newest: int) -> str:
    """Return what is wrong with the version before the newest, or what there is if none was before it."""
    before = [each for each in model.versions if each.number < newest]
    if before:
        return f"Version {before[-1].number} can't be served: {model.fault(before[-1])}"
    numbers = ", ".join(str(each.number) for each in model.versions)
    return (
        f"It has {numbers}: --to N serves another" if len(model.versions) > 1 else f"It has {numbers or 'no version'}"
    )


def _kept(model: Standing, but: int = 0) -> str:
    usable = ", ".join(str(each.number) for each in model.versions if each.number != but and not model.fault(each))
    return f"These can: {usable}" if usable else ""
