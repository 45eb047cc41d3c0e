"""A source of models: the row of each scheme, and the defaults of sources of files."""

import os.path
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system.extras import Extra


def _unchecked(name: str, options: Options) -> None:
    """Accept every name; ``load`` refuses those without a model."""


def _is_a_name(name: str) -> bool:
    return False


def _is_a_path(name: str) -> bool:
    return True


def _same(name: str) -> str:
    return name


def _stem(name: str) -> str:
    return Path(name).stem


def _no_files(name: str) -> tuple[Path, ...]:
    return ()


def _no_names() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Source:
    """A source of models, by the scheme that it has in the table ``SOURCES``.

    Only ``known``, ``check`` and ``load`` may import a framework. The defaults are those of a source of named models;
    ``file_source`` has those of a source of files.
    """

    # How a reference is written, such as "onnx:FILE".
    form: str
    # What can be named, in a few words.
    summary: str
    # The frameworks of the table EXPORTERS that its models may belong to.
    frameworks: tuple[str, ...]
    # Loads the model of a name with the weights that the options ask for; SourceError for one that can't be loaded.
    load: Callable[[str, Options, Progress], SourceModel]
    # Raises SourceError if a name is not a model of this source, without loading it.
    check: Callable[[str, Options], None] = _unchecked
    # Returns the files that the model of a name consists of; SourceError for a file that can't be used. Weights that an
    # option names, or that are downloaded, are not among them.
    files: Callable[[str], tuple[Path, ...]] = _no_files
    # Returns the names that can be given, if they can be listed; SourceError if a package is missing.
    known: Callable[[], tuple[str, ...]] = _no_names
    # Whether a name of this source is a path.
    names_file: Callable[[str], bool] = _is_a_name
    # Returns the name that a model is published under, unless the user gives it one.
    default_name: Callable[[str], str] = _same
    # The fields of Options that decide what is loaded and exported, and have no effect on some sources.
    options: tuple[str, ...] = ()
    # The distributions whose versions decide the outcome, in addition to those of the exporter.
    packages: tuple[str, ...] = ()
    # The extras of pyproject.toml of which it needs one; none if the base installation is enough.
    extras: tuple[Extra, ...] = ()


# Makes a Source with names that are paths; it is called with the other fields, ``files`` among them.
file_source = partial(Source, names_file=_is_a_path, default_name=_stem)


def path_of(name: str) -> Path:
    """Return a path with ``~`` and ``~user`` replaced by their folders; unchanged if there is no such user."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's raises if there is no such user
