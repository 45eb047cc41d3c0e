"""The catalogue of sources: the extras that each needs, and the names that it knows."""

import os.path
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.sources.source import path_of
from modelrepo.generator.sources.told import found_at
from modelrepo.generator.system.environment import extra_command
from modelrepo.generator.system.extras import Extra

WILDCARDS = "*?["


@dataclass(frozen=True)
class Entry:
    """A source, as `modelrepo models` lists it."""

    scheme: str
    form: str
    summary: str
    # The extras of pyproject.toml of which it needs one.
    extras: tuple[Extra, ...]
    # The packages of the first extra that are not installed; none if any of the extras is complete.
    missing: tuple[str, ...]
    # The names that it lists, without the scheme; none if packages are missing, or it reads files.
    names: tuple[str, ...]

    @property
    def install(self) -> str:
        """The command that installs the missing packages; empty if none are missing."""
        return extra_command(self.extras[0].name) if self.missing else ""

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the references that match a pattern, as `generate --model` takes them."""
        references = (f"{self.scheme}:{name}" for name in self.names)
        return tuple(each for each in references if fits(each, pattern))


def fits(reference: str, pattern: str) -> bool:
    """Whether a reference or the name in it matches a pattern; without a wildcard, a part of it is enough."""
    if not any(character in pattern for character in WILDCARDS):
        return pattern in reference
    return any(fnmatchcase(each, pattern) for each in (reference, reference.partition(":")[2]))


def read(schemes: Iterable[str]) -> tuple[Entry, ...]:
    """Return the sources of these schemes with the names that each lists; imports the frameworks that list them."""
    return tuple(_entry(scheme) for scheme in schemes)


def missing(extra: Extra) -> tuple[str, ...]:
    """Return the packages of an extra that are not installed."""
    return tuple(module for module in extra.modules if find_spec(module) is None)


def unmatched(pattern: str, entries: Iterable[Entry]) -> SourceError:
    """Return the error that nothing matches a pattern, with the nearest names."""
    plain = pattern.rpartition(":")[2].strip(WILDCARDS + "]")
    if os.path.lexists(path_of(plain)):
        return SourceError(f"{plain} is a file or folder, and `modelrepo models` lists names", found_at(plain))
    names = {name for entry in entries for name in entry.names}
    hint = nearest(plain, names) if names else "Sources that read files list none: their form is in `modelrepo models`"
    return SourceError(f"no model matches {pattern!r}", hint)


def _entry(scheme: str) -> Entry:
    source = SOURCES[scheme]
    lacking = [missing(extra) for extra in source.extras]
    absent = lacking[0] if lacking and all(lacking) else ()
    return Entry(scheme, source.form, source.summary, source.extras, absent, () if absent else source.known())
