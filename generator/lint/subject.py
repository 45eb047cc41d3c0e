"""What is checked: a repository, its models and their configurations, for a host."""

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from modelrepo.generator.lint.text import ConfigText, read
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton.releases import Release

T = TypeVar("T")
# A text that is longer is not read: no ModelConfig comes near it.
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Host:
    """What serves the models: one release, and the machine."""

    release: Release
    gpus: int | None = None  # None: unknown
    cores: int | None = None  # None: unknown
    memory: int | None = None  # bytes; None: unknown
    profile: Literal["triton", "dynamo", "kserve"] = "triton"


@dataclass(frozen=True)
class Model:
    """One folder of a repository, which Triton takes for a model. Nothing is read before it is asked for."""

    name: str
    folder: Path
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, reader: Callable[[Path], T], path: Path) -> T:
        """Return what a reader finds in one of the model's files, which is read once."""
        return self.once((reader, path), lambda: reader(path))

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """Return what is found of the model, which is looked for once."""
        if key not in self._known:
            self._known[key] = find()
        found: T = self._known[key]
        return found

    @cached_property
    def entries(self) -> tuple[os.DirEntry[str], ...]:
        """What lies in the folder, by name."""
        with os.scandir(self.folder) as found:
            return tuple(sorted(found, key=lambda entry: entry.name))

    @cached_property
    def config(self) -> ConfigText | None:
        """The config.pbtxt; None if there is none. OSError if it can't be read."""
        path = self.folder / CONFIG
        if not os.path.lexists(path):
            return None
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        return read(path, content.decode("utf-8", errors="surrogateescape"))

    @cached_property
    def versions(self) -> Mapping[int, Path]:
        """The folders of versions, by the number that Triton reads from their names."""
        folders = (entry for entry in self.entries if entry.is_dir() and entry.name[:1] in "123456789")
        return {int(entry.name): Path(entry.path) for entry in folders if entry.name.isdecimal()}


@dataclass(frozen=True)
class Repository:
    """A model repository: its root, and its models by name."""

    root: Path
    models: Mapping[str, Model]


@dataclass(frozen=True)
class Case:
    """What a rule judges: a model, the repository that it lies in, and the host."""

    model: Model
    repository: Repository
    host: Host

    @property
    def config(self) -> ConfigText:
        """The configuration, for rules that are only asked if there is one that can be parsed."""
        assert self.model.config is not None  # noqa: S101 - see ``Rule.needs_config``
        return self.model.config
