"""Pins: the versions of models that ensembles need. Triton refuses an ensemble of which one is not served.

What an ensemble in force pins must be served. What an earlier version of it pins must stay, so that it can be served
again.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.repository.lifecycle import policy
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository, StagedConfig
from modelrepo.generator.triton import pbtxt

SCHEDULING = "ensemble_scheduling"
# The parameter of a model that calls others by itself: NAME@VERSION of each, separated by commas.
CALLS = "calls"
CALL = re.compile(r"(?P<model>[^@,]+)@(?P<version>[1-9]\d*)")


@dataclass(frozen=True)
class Pin:
    """A version of a model that an ensemble needs; ``of`` is the ensemble's own version, None if it is in force."""

    model: str
    version: int
    ensemble: str
    of: int | None = None

    def __str__(self) -> str:
        by = f"version {self.of} of the ensemble" if self.of else "the ensemble"
        return f"{by} {self.ensemble} needs version {self.version} of {self.model}"


def of_config(ensemble: str, text: str, version: int | None = None) -> list[Pin]:
    """Return the pins of a configuration; none for a text that is not one of an ensemble. Version -1 pins nothing."""
    if not _needs_others(text):
        return []
    try:
        config = pbtxt.parse(text, ensemble)
    except OptionError:
        return []
    pinned = [(step.model_name, step.model_version) for step in config.ensemble_scheduling.step]
    called = CALL.finditer(config.parameters[CALLS].string_value) if CALLS in config.parameters else ()
    pinned += [(each["model"], int(each["version"])) for each in called]
    return [Pin(model, number, ensemble, version) for model, number in pinned if number > 0]


def _needs_others(text: str) -> bool:
    """Whether a configuration may be that of an ensemble, or of a model that calls others by itself."""
    return SCHEDULING in text or f'"{CALLS}"' in text


def of_record(record: Manifest, version: int | None = None) -> list[Pin]:
    """Return the pins of a version of an ensemble: of its configuration, and of models that its steps call."""
    members = record.provenance.options.get("members")
    called = members.items() if isinstance(members, Mapping) and SCHEDULING in record.config else ()
    pinned = (Pin(name, each["version"], record.name, version) for name, each in called)
    return list(dict.fromkeys((*of_config(record.name, record.config, version), *pinned)))


def in_force(repository: Repository, name: str) -> list[Pin]:
    """Return the pins of a model's versions by the ensembles in force: those versions must be served."""
    found: list[Pin] = []
    for ensemble, text in _ensembles(repository):
        served = policy.served(text, repository.folders(ensemble))
        records = (each for each in repository.manifests(ensemble) if each.version in served)
        found += [*of_config(ensemble, text), *(pin for each in records for pin in of_record(each))]
    return [pin for pin in dict.fromkeys(found) if pin.model == name]


def kept(repository: Repository, name: str) -> list[Pin]:
    """Return all pins of a model's versions: by the ensembles in force, and by their versions that stand."""
    found = in_force(repository, name)
    for ensemble, _ in _ensembles(repository):
        there = repository.folders(ensemble)
        for manifest in repository.manifests(ensemble):
            if manifest.version in there:
                found += [pin for pin in of_record(manifest, manifest.version) if pin.model == name]
    return found


def by(repository: Repository, ensemble: str) -> list[Pin]:
    """Return what a model needs: by its configuration in force, and by those of its versions."""
    found = of_config(ensemble, repository.config_text(ensemble) or "")
    return found + [pin for each in repository.manifests(ensemble) for pin in of_record(each, each.version)]


def _ensembles(repository: Repository) -> Iterator[tuple[str, str]]:
    """Yield the models of a repository that need others, with their configurations in force."""
    for folder in sorted(repository.root.iterdir()) if repository.root.is_dir() else ():
        text = repository.config_text(folder.name) if folder.is_dir() else None
        if text and _needs_others(text):
            yield folder.name, text


@dataclass(frozen=True)
class Keeping:
    """A configuration that also serves the versions that ensembles need; it is a ``StagedConfig``.

    The ensemble ``replaced`` gets a new version right after this model: what its old one needs is served if it can be.
    """

    config: StagedConfig
    repository: Repository
    name: str
    replaced: str = ""

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form."""
        return self.config.max_batch_size

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version that joins the ``existing`` ones.

        Raises RepositoryError if a version that an ensemble needs can't be served with the same configuration.
        """
        text = self.config.text(version, existing)
        there = {version, *existing}
        pins = [pin for pin in in_force(self.repository, self.name) if pin.version in there - {version}]
        served = policy.served(text, there)
        missing = [pin for pin in pins if pin.version not in served]
        if not missing:
            return text
        known = {each.version: each.config for each in self.repository.manifests(self.name)}
        differences = {pin: _differ(known.get(pin.version, ""), text) for pin in missing}
        for pin, difference in differences.items():
            if difference and pin.ensemble != self.replaced:
                raise RepositoryError(
                    f"{pin}, and the new version has another {difference}: one configuration can't serve both",
                    f"Remove {pin.ensemble} first and generate it again, or publish this model under another name",
                )
        kept = {pin.version for pin, difference in differences.items() if not difference}
        return policy.serving(text, {*served, *kept}) if kept else text


def _differ(old: str, new: str) -> str:
    """Return what of two configurations keeps the files of one from being served with the other; empty if nothing."""
    one, other = (pbtxt.parse(text, "the configuration") for text in (old, new))
    for field in ("backend", "platform", "max_batch_size"):
        if getattr(one, field) != getattr(other, field):
            return field
    for field in ("input", "output"):
        if _shapes(getattr(one, field)) != _shapes(getattr(other, field)):
            return f"{field} signature"
    return ""


def _shapes(tensors: Any) -> Mapping[str, tuple[Any, ...]]:
    return {each.name: (each.data_type, tuple(each.dims), tuple(each.reshape.shape)) for each in tensors}


def notes(repository: Repository, name: str, version: int, text: str) -> tuple[str, ...]:
    """Return a note for each other version than the new one that a configuration serves for an ensemble."""
    served = policy.served(text, repository.versions(name) | {version})
    pins = [pin for pin in in_force(repository, name) if pin.version in served and pin.version != version]
    return tuple(
        dict.fromkeys(f"version {pin.version} stays served: {pin}, until it is generated again" for pin in pins)
    )
