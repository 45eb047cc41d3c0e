"""What happens in a running server: versions that are served, refused or gone, and whether it calls itself ready.

The log says that something happened, and why a model was refused. Which versions are served then is asked of the
server: the log does not always say it, and the server's index lists folders, not what is loaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelrepo.generator.errors import ServerError
from modelrepo.server.running import log as logs
from modelrepo.server.running.explained import explained, listed
from modelrepo.server.running.handle import Health, Served, Server
from modelrepo.server.running.log import News, Refusal

Kind = Literal["served", "refused", "gone", "unready", "ready"]
# Questions until the log stands still while the server answers, so that the answer belongs to what was read.
ROUNDS = 20
UNREADY = (
    "the server calls itself not ready (/v2/health/ready answers 400) because of {models}: load balancers and "
    "Kubernetes probes take it out, although it answers. Mend that very version, or restart the server; to remove it, "
    "or to publish another, is not enough"
)


@dataclass(frozen=True)
class Event:
    """Something that happened: ``message`` for people, ``reason`` in Triton's words for a refusal.

    ``versions`` are those that were loaded, refused or unloaded; a model that is refused as a whole has none. ``model``
    is empty if it is about the repository or the server.
    """

    kind: Kind
    message: str
    model: str = ""
    versions: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Known:
    """What was reported so far: the versions served, the refusals that still stand, and whether it is not ready.

    ``accepted`` are models that were reported as accepted again. If a changed one was loaded, the version that it
    replaces is unloaded later, which is no news.
    """

    served: Served
    refused: frozenset[Refusal] = frozenset()
    accepted: frozenset[str] = frozenset()
    unready: bool = False


class Following:
    """Follows a server from now on. ``states`` are its models now, which are no events."""

    def __init__(self, server: Server) -> None:
        self.server, self._offset, self._unread = server, 0, ""
        served, _ = self._asked()
        self.states = server.models()
        self._known = Known(served, _refusals(logs.news(self._unread)))
        self._unread, self._looked = "", False

    def look(self) -> tuple[Event, ...]:
        """Return what has happened since the last look. A server that does not answer is asked again next time.

        The first look also finds a server that called itself not ready from the start.
        """
        self._unread += self._new_text()
        removed = self._removed()
        if self._looked and not (self._unread or removed):
            return ()
        try:
            served, health = self._asked()
        except ServerError:
            return ()
        said = logs.news(self._unread)
        self._unread, self._looked = "", True
        new = frozenset(each for each in _refusals(said) if not each.in_folder or self._folder(each.model).exists())
        before, self._known = self._known, _known(self._known, said, new, served, health, removed)
        return (
            *(_refused(each, served, self._folder(each.model)) for each in sorted(new - before.refused, key=_order)),
            *_changes(before, said, served),
            *(_removal(name) for name in sorted(removed)),
            *_readiness(before, health),
        )

    def _asked(self) -> tuple[Served, Health]:
        """Return the server's answers about what is read by then; what it writes meanwhile is read too."""
        for _ in range(ROUNDS):
            answer = self.server.served(), self.server.health()
            more = self._new_text()
            self._unread += more
            if not more:
                break
        return answer

    def _new_text(self) -> str:
        try:
            text = logs.complete(self.server.log_bytes(self._offset))
        except OSError:  # someone has removed the log; the server still serves
            return ""
        self._offset += len(text)
        return text.decode("utf-8", errors="replace")

    def _removed(self) -> frozenset[str]:
        """Return the refused models whose folders are not there any more. Triton does not mention that."""
        names = {refusal.model for refusal in self._known.refused if refusal.in_folder}
        served = {name for name, _ in self._known.served}
        return frozenset(name for name in names - served if not self._folder(name).exists())

    def _folder(self, model: str) -> Path:
        return self.server.repository / model


def _known(
    known: Known, said: News, new: frozenset[Refusal], served: Served, health: Health, removed: frozenset[str]
) -> Known:
    settled = {*removed, *said.loaded, *({""} if said.loaded else ())}
    replaced = {(refusal.model, refusal.version) for refusal in new}
    standing = {
        each for each in known.refused if each.model not in settled and (each.model, each.version) not in replaced
    }
    accepted = {event.model for event in _changes(known, said, served) if event.kind == "served"}
    return Known(
        served,
        frozenset(standing | new),
        frozenset((known.accepted - said.loaded) | (accepted & said.loaded)),
        not health.ready and (known.unready or bool(health.failed)),
    )


def _refusals(said: News) -> frozenset[Refusal]:
    """Return the refusals in a part of the log. Versions that are absent say less than the refusal of their model."""
    whole = {refusal for found in said.refused.values() for refusal in found}
    return frozenset(whole | {refusal for refusal in said.absent if refusal.model not in said.refused})


def _order(refusal: Refusal) -> tuple[str, int]:
    return refusal.model, int(refusal.version or 0)


def _refused(refusal: Refusal, served: Served, folder: Path) -> Event:
    """Return the event of a refusal that is new, or has a new reason: a polling server repeats it with every poll."""
    subject = _subject(refusal, _versions(served, refusal.model))
    versions = (refusal.version,) if refusal.version else ()
    why = explained(refusal.reason, folder)
    return Event("refused", f"{subject}: {why}", refusal.model, versions, refusal.reason)


def _subject(refusal: Refusal, kept: tuple[str, ...]) -> str:
    """Return what is refused, and what is served in spite of it."""
    name, version = refusal.model, refusal.version
    if version in kept:
        return f"the changed {name} version {version} is refused, and it is served as it was before"
    still = f", and {_named(kept)} still served" if kept else ""
    whole = f"{name} version {version}" if version else name or "the whole repository"
    return f"{whole} is refused{still}"


def _changes(known: Known, said: News, served: Served) -> Iterator[Event]:
    """Yield the changes in what is served, a model at a time."""
    refused = {refusal.model for refusal in known.refused}
    cause = ", because the repository can't be read" if "" in {*refused, *said.refused} else ""
    for name in sorted({name for name, _ in known.served | served}):
        before, after = _versions(known.served, name), _versions(served, name)
        new = tuple(version for version in after if version not in before)
        gone = tuple(version for version in before if version not in after)
        again = tuple(version for version in after if (name, version) in said.unloaded)
        if new:
            instead = f", in place of {_named(gone, verb=False)}" if gone else ""
            yield Event("served", f"{name} {_named(new)} served{instead}", name, new)
        elif gone:
            left = f"; {_named(after)} still served" if after else cause
            yield Event("gone", f"{name} {_named(gone)} no longer served{left}", name, gone)
        elif name in said.loaded and name in refused:
            yield Event("served", f"{name} is accepted again, and {_named(after)} served", name, after)
        elif again and name not in known.accepted - said.loaded:
            yield Event("served", f"{name} {_named(again)} loaded again, because it was changed", name, again)


def _removal(name: str) -> Event:
    return Event("gone", f"{name} is gone from the repository; it was refused before", name)


def _readiness(known: Known, health: Health) -> Iterator[Event]:
    if known.unready and health.ready:
        yield Event("ready", "the server calls itself ready again")
    elif health.failed and not known.unready:
        yield Event("unready", UNREADY.format(models=", ".join(health.failed)))


def _versions(served: Served, name: str) -> tuple[str, ...]:
    return tuple(sorted((version for model, version in served if model == name), key=int))


def _named(versions: tuple[str, ...], *, verb: bool = True) -> str:
    """Return "version 1 is", "versions 1 to 3 are", …; without the verb for use as an object."""
    several = len(versions) > 1
    text = f"version{'s' if several else ''} {listed([int(version) for version in versions])}"
    return f"{text} {'are' if several else 'is'}" if verb else text
