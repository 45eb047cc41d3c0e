"""What is checked: repositories, their models and their configurations, for a host."""

import os
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from modelrepo.generator.lint.regular import NOTHING, opened
from modelrepo.generator.lint.text import ConfigText, read
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton.releases import Release

T = TypeVar("T")
# A text that is longer is not read: no ModelConfig comes near it.
MOST_BYTES = 1 << 20
# Folders of a model that Triton never takes for versions (VersionsToLoad in model_lifecycle.cc).
NO_VERSIONS = ("warmup", "initial_state", "configs")
# The folder of configurations that take the place of config.pbtxt with --model-config-name.
CONFIGS = "configs"
LARGEST_VERSION = 2**63 - 1
# What C++'s std::stoll takes for a number: it skips white space, and ignores what follows the digits.
STOLL = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")


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
    config_file: str = CONFIG  # within the folder
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def config_path(self) -> Path:
        """Where the configuration is, if there is one."""
        return self.folder / self.config_file

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
    def _listed(self) -> tuple[tuple[os.DirEntry[str], ...], str]:
        try:
            with os.scandir(self.folder) as found:
                return tuple(sorted(found, key=lambda entry: entry.name)), ""
        except OSError as error:
            return (), error.strerror or str(error)

    @property
    def entries(self) -> tuple[os.DirEntry[str], ...]:
        """What lies in the folder, by name; nothing if it can't be read."""
        return self._listed[0]

    @property
    def trouble(self) -> str:
        """Why the folder can't be read; empty if it can."""
        return self._listed[1]

    @cached_property
    def _loaded(self) -> tuple[ConfigText | None, str]:
        path = self.config_path
        try:
            if not os.path.lexists(path):
                return None, ""
            with opened(path) as file:
                content = file.read(MOST_BYTES + 1)
            if content is None:
                return None, NOTHING
        except OSError as error:
            return None, error.strerror or str(error)
        if len(content) > MOST_BYTES:
            return None, f"it is longer than {MOST_BYTES >> 20} MiB"
        return read(path, content.decode("utf-8", errors="surrogateescape")), ""

    @property
    def config(self) -> ConfigText | None:
        """The config.pbtxt; None if there is none, or if it can't be read."""
        return self._loaded[0]

    @property
    def config_trouble(self) -> str:
        """Why there is a config.pbtxt that can't be read; empty if it can, or if there is none."""
        return self._loaded[1]

    @cached_property
    def version_folders(self) -> tuple[tuple[str, int], ...]:
        """The folders that Triton takes for versions, with the number that it reads from the name of each."""
        named = ((entry.name, version_of(entry.name)) for entry in self.entries if is_folder(entry))
        return tuple((name, version) for name, version in named if version is not None)

    @cached_property
    def versions(self) -> Mapping[int, Path]:
        """The versions that Triton finds, and the folder in which it looks for the files of each.

        That folder may not exist: it is named by the number, and `2.tmp` is version 2, too.
        """
        found = sorted({version for _, version in self.version_folders if fits(version)})
        return {version: self.folder / str(version % 2**64) for version in found}

    def forget(self) -> None:
        """Forget what was read, so that checking a thousand models takes no more memory than checking one."""
        for name in ("_loaded", "_listed", "version_folders", "versions"):
            self.__dict__.pop(name, None)
        self._known.clear()


def version_of(name: str) -> int | None:
    """Return the number that Triton reads from the name of a folder; None if it ignores the folder.

    As `VersionsToLoad` of Triton's model_lifecycle.cc. A number that int64 does not hold ends the server.
    """
    number = STOLL.match(name)
    if name in NO_VERSIONS or (len(name) > 1 and name[0] == "0") or not number:
        return None
    return int(number[1])


def fits(version: int) -> bool:
    """Whether int64 holds a version's number."""
    return -LARGEST_VERSION - 1 <= version <= LARGEST_VERSION


def is_folder(entry: "os.DirEntry[str] | Path") -> bool:
    """Whether an entry or a path is a folder, or a link to one; False if that can't be known."""
    try:
        return entry.is_dir()
    except OSError:
        return False


@dataclass(frozen=True)
class Repository:
    """A model repository: its root, and its models by name."""

    root: Path
    models: Mapping[str, Model]
    asked: tuple[str, ...] = ()  # the models to check, if not all and the repository itself
    beside: tuple["Repository", ...] = ()  # those that are served along with it
    # What rules have worked out of other models, which ensembles ask for again and again.
    memo: dict[tuple[Any, ...], Any] = field(default_factory=dict, compare=False, repr=False)

    def entries(self) -> Iterator["os.DirEntry[str]"]:
        """Yield what lies in the root; nothing if it can't be read."""
        try:
            with os.scandir(self.root) as found:
                yield from sorted(found, key=lambda entry: entry.name)
        except OSError:
            return


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
