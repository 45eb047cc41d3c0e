"""Which versions are served by an operator's choice: a line of config.pbtxt, so that one replacement commits both.

A configuration that is in force without this line is that of the newest version, or was edited by hand, or an older
one's, because a publish was interrupted before its last step.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

LINE = re.compile(
    r"# modelrepo (?P<verb>rollback|promote): serves (?P<versions>\d+(?:, \d+)*)"
    r"(?: in place of (?P<before>\d+(?:, \d+)*))? since (?P<at>\S+) \((?P<digest>[0-9a-f]{16})\)\n"
)


@dataclass(frozen=True)
class Choice:
    """The versions that an operator chose, those that were served before, and when it was (ISO 8601, UTC)."""

    verb: str  # "rollback" or "promote"
    versions: tuple[int, ...]
    before: tuple[int, ...]
    at: str

    def __str__(self) -> str:
        """In words."""
        done = {"rollback": "rolled back", "promote": "promoted"}[self.verb]
        place = f" in place of {_listed(self.before)}" if self.before else ""
        return f"{_listed(self.versions)} {'are' if len(self.versions) > 1 else 'is'} served{place}, {done} {self.at}"


def now() -> str:
    """Return the time for a choice."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def marked(config: str, choice: Choice) -> str:
    """Return the text of a configuration with the line of a choice before it."""
    place = f" in place of {_listed(choice.before)}" if choice.before else ""
    what = f"{choice.verb}: serves {_listed(choice.versions)}{place} since {choice.at}"
    return f"# modelrepo {what} ({_digest(config)})\n{config}"


def read(config: str) -> Choice | None:
    """Return the choice of a configuration; None if it has none, or if it was edited since."""
    match = LINE.match(config)
    if not match or match["digest"] != _digest(config[match.end() :]):
        return None
    return Choice(match["verb"], _numbers(match["versions"]), _numbers(match["before"] or ""), match["at"])


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(map(str, versions))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(",") if each)


def _digest(config: str) -> str:
    return hashlib.sha256(config.encode("utf-8", "surrogateescape")).hexdigest()[:16]
