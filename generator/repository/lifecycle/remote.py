"""A running server that follows a change: `--url` of `rollback`, `promote`, `prune` and `remove`.

In explicit mode a server loads a model when it is asked to. A polling one finds a change by itself, and one with the
mode "none" never looks at its repository again. Those two refuse a load in the same words; only time tells them apart.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.clients import Client
from modelrepo.clients.errors import ClientError, NoExplicitMode, UnknownModel
from modelrepo.clients.models import IndexEntry
from modelrepo.generator.errors import ModelRepoError, RepositoryError, ServerError, VerificationError
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.lifecycle.predicted import disagreement
from modelrepo.generator.repository.lifecycle.serving import Change, applied
from modelrepo.generator.repository.lifecycle.smoke import Smoked, smoke
from modelrepo.generator.repository.lifecycle.standing import Standing, numbered
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.system.files import make_newer, newest_time
from modelrepo.generator.system.interrupts import interrupts_kept_back

# Seconds that a load or an unload may take, and that a poll may be away: Triton polls every 15 s unless told otherwise.
LOADING, POLLING = 600.0, 60.0
# Seconds for the last requests of a version that is unloaded.
SETTLING = 30.0
LOOK_SECONDS = 0.05
LOADED = ("READY", "LOADING", "UNLOADING")
COPY = "Its repository may be another folder, or a copy: name the one that it reads with --repository"
NEVER_LOOKS = (
    "If it polls less often, add --wait SECONDS. With --model-control-mode=none it never does: run the command without "
    "--url, and start the server again"
)


@dataclass(frozen=True)
class Remote:
    """A running server; ``seconds`` is how long it may take, None for the default of what it does.

    ``told`` makes an error of ours of a client's.
    """

    client: Client
    url: str
    seconds: float | None = None
    told: Callable[[ClientError], ModelRepoError] = lambda error: ServerError(error.message, error.hint)


@dataclass(frozen=True)
class Health:
    """What a server says of itself: whether it is ready, and the versions that it knows."""

    ready: bool
    entries: tuple[IndexEntry, ...]

    def versions(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model that it serves, in ascending order."""
        return self._in(name, ("READY",))

    def loaded(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model that are in its memory, or on their way there or out of it."""
        return self._in(name, LOADED)

    def _in(self, name: str, states: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted(int(each.version) for each in self._of(name) if each.state in states))

    def _of(self, name: str) -> Iterator[IndexEntry]:
        return (each for each in self.entries if each.name == name and each.version.isdecimal())

    def refused(self, name: str) -> dict[int, str]:
        """Return the versions that it could not load, with its reasons."""
        failed = (each for each in self._of(name) if each.state == "UNAVAILABLE" and each.reason)
        return {int(each.version): each.reason for each in failed if each.reason != "unloaded"}

    def others(self, name: str) -> set[str]:
        """Return the versions of other models that it serves, in words."""
        ready = (each for each in self.entries if each.name != name and each.state == "READY")
        return {f"{each.name} version {each.version}" for each in ready}


@dataclass(frozen=True)
class Followed:
    """What a server made of a change: its health before and after, and a row for each version that was asked."""

    url: str
    before: Health
    after: Health
    answers: tuple[Smoked, ...] = ()
    notes: tuple[str, ...] = ()


def look(remote: Remote) -> Health:
    """Return a server's health; a ClientError if it can't be asked."""
    entries = remote.client.index()
    return Health(remote.client.is_ready(), entries)


def unfinished(model: Standing, health: Health | None) -> int | None:
    """Return the version of a rollback that a server has not followed yet, None if there is none.

    The repository was rolled back without it, or the command was killed, or it is the next of several servers.
    """
    chosen, ready = model.choice, health.versions(model.name) if health else ()
    if chosen is None or chosen.verb != "rollback" or ready in ((), chosen.versions):
        return None
    return max(chosen.versions)


def foreseen(remote: Remote, repository: Repository, change: Change) -> Health:
    """Return a server's health before a change. RepositoryError or ServerError for one that is certain to go wrong."""
    health = look(remote)
    _refuse_other_files(remote, repository, change.name, health)
    records = {each.version: each for each in repository.manifests(change.name)}
    for number in {*change.after} - {*health.versions(change.name)}:
        if not records[number].is_intact(repository.root / change.name):
            raise RepositoryError(
                f"version {number} of {change.name} is not as it was published",
                f"`modelrepo versions {change.name} --verify` says which file has changed",
            )
    return health


def follow(remote: Remote, repository: Repository, change: Change) -> tuple[Change, Followed]:
    """Commit a change and have a server follow it; call it with the lock held, and interrupts let through.

    If the server does not follow, or answers wrongly, the old configuration is put back, and loaded again. Raises
    VerificationError for a wrong answer, and ServerError for a server that refuses or is gone.
    """
    _settled(remote, change.name)
    before = foreseen(remote, repository, change)
    config = repository.root / change.name / CONFIG
    old = _content(config)
    try:
        with interrupts_kept_back():
            done = applied(repository, change)
        notes = _brought(remote, done, before, config)
        answers, more = _answers(remote, repository, done)
        after = _settled(remote, change.name)
    except BaseException as error:
        if _content(config) == old:  # it was refused before it was written, or stood there already
            raise
        with interrupts_kept_back():
            _restore(repository, config, old)
        back = _loaded_again(remote, change, before)
        ours = remote.told(error) if isinstance(error, ClientError) else error
        if not isinstance(ours, ModelRepoError):
            raise
        raise type(ours)(f"{ours.message}; {back}", ours.hint) from error
    followed = Followed(remote.url, before, after, answers, (*notes, *more, *_changes(before, after, change.name)))
    return done, followed


def unload(remote: Remote, repository: Repository, name: str) -> Followed:
    """Unload a model and wait until it is gone. ServerError if it stays."""
    before = look(remote)
    _refuse_other_files(remote, repository, name, before)
    if not before.loaded(name):
        return Followed(remote.url, before, before)
    try:
        remote.client.unload(name)
    except NoExplicitMode as error:
        raise ServerError(
            f"{remote.url} unloads no model on request, so nothing was removed",
            f"Run the command without --url: a server that polls drops {name} then, another one when it starts again",
        ) from error
    try:
        after = _gone(remote, name)
    except BaseException:  # also an interrupt: the model stays, and so it stays served
        with suppress(ClientError):
            reload(remote, name)
        raise
    return Followed(remote.url, before, after, notes=_changes(before, after, name))


def _gone(remote: Remote, name: str) -> Health:
    """Wait until a model is unloaded; return the health then. ServerError if it takes too long."""
    end = time.monotonic() + (remote.seconds or LOADING)
    while (health := look(remote)).loaded(name):
        if time.monotonic() > end:
            raise ServerError(f"{remote.url} did not unload {name} in time, so nothing was removed", "Add --wait")
        time.sleep(LOOK_SECONDS)
    return health


def reload(remote: Remote, name: str) -> None:
    """Load a model as it was before; it may take its time."""
    remote.client.load(name, deadline=LOADING)


def with_loaded(model: Standing, health: Health) -> Standing:
    """Return a model whose versions count as served if a server has them in its memory."""
    loaded = health.loaded(model.name)
    versions = (replace(each, served=each.served or each.number in loaded) for each in model.versions)
    return replace(model, versions=tuple(versions))


def _brought(remote: Remote, change: Change, before: Health, config: Path) -> tuple[str, ...]:
    """Have a server serve what was committed; ServerError if it does not."""
    if not change.changes and not _differs(remote, change):
        return ()
    try:
        remote.client.load(change.name, deadline=remote.seconds or LOADING)
    except NoExplicitMode:
        if not change.changes:
            make_newer(config, newest_time(config.parent))
        _await(remote, change, before)
        return ()
    if not _differs(remote, change):
        return ()
    # A load with a configuration in the request is in force until the file is newer.
    make_newer(config, newest_time(config.parent))
    remote.client.load(change.name, deadline=remote.seconds or LOADING)
    left = _differs(remote, change)
    if left:
        raise ServerError(f"{remote.url} has loaded {change.name}, but {left}", COPY)
    return (f"{remote.url} kept a configuration that somebody had loaded it with; now it has that of {CONFIG}",)


def _await(remote: Remote, change: Change, before: Health) -> None:
    """Wait until a server that polls has found a change."""
    seconds = remote.seconds or POLLING
    end = time.monotonic() + seconds
    while left := _differs(remote, change):
        known = before.refused(change.name)
        for version, reason in look(remote).refused(change.name).items():
            if version in change.after and known.get(version) != reason:
                raise ServerError(f"{remote.url} refused version {version}: {reason}", "See its log")
        if time.monotonic() > end:
            raise ServerError(
                f"{remote.url} loads no model on request, and did not follow in {seconds:.0f} s: {left}", NEVER_LOOKS
            )
        time.sleep(LOOK_SECONDS)


def _settled(remote: Remote, name: str) -> Health:
    """Return a server's health when it has unloaded what it serves no more: until then it calls itself not ready."""
    end = time.monotonic() + SETTLING
    health = look(remote)
    while health.loaded(name) != health.versions(name) and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        health = look(remote)
    return health


def _differs(remote: Remote, change: Change) -> str:
    """Return how what a server serves differs from a change; empty if it does not."""
    ready = look(remote).versions(change.name)
    if ready != change.after:
        return f"it serves {numbered(ready)}"
    try:
        answered = remote.client.config(change.name, str(change.after[-1]))
    except UnknownModel as error:  # it has just begun to unload it
        return error.message
    # A version that stays loaded keeps the policy that it was loaded with; the served versions tell the new one.
    policy = {"specific": {"versions": list(change.after)}}
    found = disagreement(change.new, {**answered, "version_policy": policy})
    return f"in its configuration {found}" if found else ""


def _answers(remote: Remote, repository: Repository, change: Change) -> tuple[tuple[Smoked, ...], tuple[str, ...]]:
    """Ask the golden requests of each version that is served; return the rows, and notes of what was not asked."""
    rows: list[Smoked] = []
    notes: list[str] = []
    for version in change.after:
        row = smoked(remote.client, repository, change.name, version)
        if isinstance(row, str):
            notes.append(f"the answers of version {version} were not checked: {row}")
            continue
        if row.failure:
            kind = ServerError if row.exit_code == ServerError.exit_code else VerificationError
            raise kind(f"version {version} of {change.name} at {remote.url}: {row.failure}", row.hint)
        if row.unasked:
            notes.append(f"the answers of version {version} were not checked: {row.unasked}")
        notes += row.notes
        rows.append(row)
    return tuple(rows), tuple(notes)


def smoked(client: Client, repository: Repository, name: str, version: int) -> Smoked | str:
    """Return what golden requests say of a version, or why there are none, in words."""
    try:
        if golden.read(repository, name, version) is None:
            return "an earlier release published it, and kept no golden requests"
    except RepositoryError as error:
        return error.message
    return smoke(client, repository, name, version)


def _content(config: Path) -> bytes | None:
    return config.read_bytes() if config.exists() else None


def _restore(repository: Repository, config: Path, old: bytes | None) -> None:
    if old is None:
        config.unlink(missing_ok=True)
        return
    newest = newest_time(config.parent)
    repository.write(config, old)
    make_newer(config, newest)


def _loaded_again(remote: Remote, change: Change, before: Health) -> str:
    """Have a server load the configuration that was put back; return how that ended, in words."""
    ready = before.versions(change.name)
    try:
        try:
            if ready:
                reload(remote, change.name)
            else:
                remote.client.unload(change.name)
        except NoExplicitMode:
            end = time.monotonic() + (remote.seconds or POLLING)
            while look(remote).versions(change.name) != ready and time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
        now = _settled(remote, change.name)
    except ClientError as error:
        return f"{CONFIG} is as before, but the server was not brought back to it: {remote.told(error).message}"
    unready = ", but calls itself not ready until that version loads, or it starts again"
    serves = f"{CONFIG} is as before, and the server serves {numbered(now.versions(change.name))}"
    return serves + (unready if before.ready and not now.ready else "")


def _refuse_other_files(remote: Remote, repository: Repository, name: str, health: Health) -> None:
    """Raise ServerError if a server serves a version that the repository does not have."""
    foreign = {*health.versions(name)} - {*repository.folders(name)}
    if foreign:
        serves = f"{remote.url} serves {numbered(sorted(foreign))} of {name}"
        raise ServerError(f"{serves}, which {repository.root} does not have", COPY)


def _changes(before: Health, after: Health, name: str) -> tuple[str, ...]:
    """Return what else is different on a server after a change, in words."""
    lost = sorted(before.others(name) - after.others(name))
    notes = [f"{', '.join(lost)}: served before, and not any more"] if lost else []
    if not after.ready:
        notes.append("the server calls itself not ready" + ("" if before.ready else ", as before"))
    return tuple(notes)
