"""The file modelrepo.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.options.ensembles import read_ensemble
from modelrepo.generator.options.fields import FIELDS, parse_field
from modelrepo.generator.options.names import check_name
from modelrepo.generator.specs.ensembles import EnsembleSpec

CONFIG_NAME = "modelrepo.toml"


@dataclass(frozen=True)
class ConfigFile:
    """What ``modelrepo.toml`` says: ``defaults`` for every model, what each of ``models`` sets, and ``ensembles``."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ensembles: Mapping[str, EnsembleSpec] = field(default_factory=dict)


def load_config(path: Path | None) -> ConfigFile:
    """Read ``path``, or ``modelrepo.toml`` of the current folder if it exists.

    Raises OptionError for a file that can't be read, a key that is not in ``FIELDS``, or a value of the wrong kind.
    """
    if path is None:
        path = Path(CONFIG_NAME)
        if not path.exists():
            return ConfigFile()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:  # TOML, UTF-8, or a number of thousands of digits
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    models = document.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise OptionError(f"{path}: models must be tables such as [models.resnet50]")
    for name in models:
        check_name(name)
    ensembles = _ensembles(document.pop("ensembles", {}), models, path)
    known = [name for name in FIELDS if name != "model"]
    defaults = _read_keys(document, [*known, "models", "ensembles"], path, "")
    own = [name for name, field_ in FIELDS.items() if not field_.run]
    return ConfigFile(
        defaults,
        {name: _read_keys(table, own, path, f" in [models.{name}]") for name, table in models.items()},
        ensembles,
    )


def _ensembles(tables: Any, models: Mapping[str, Any], path: Path) -> dict[str, EnsembleSpec]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise OptionError(f"{path}: ensembles must be tables such as [ensembles.classify]")
    twice = next((name for name in tables if name in models), None)
    if twice:
        raise OptionError(f"{path}: {twice!r} is the name of a model and of an ensemble", "Rename one of them")
    return {name: read_ensemble(name, table, path) for name, table in tables.items()}


def default_repository() -> Path:
    """Return the repository that ``modelrepo.toml`` of the current folder names, or the default."""
    return Path(load_config(None).defaults.get("repository", FIELDS["repository"].default))


def _read_keys(table: Mapping[str, Any], known: list[str], path: Path, where: str) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in known:
            raise OptionError(f"{path}: unknown key {key!r}{where}", nearest(key, known, count=1))
        written = value
        if (FIELDS[key].path and isinstance(value, str) and not _names_no_file(key, value)) or (
            key == "weights" and value not in ("pretrained", "random") and isinstance(value, str)
        ):
            written = str(path.parent / Path(value).expanduser())
        elif key == "model" and isinstance(value, str):
            written = sources.seen_from(value, path.parent)
        values[key] = parse_field(key, written, f"{path}{where}: {key}")
    return values


def _names_no_file(key: str, value: str) -> bool:
    """Whether the value of a key that may be a path is a word instead."""
    return (key, value) == ("client_dir", "none") or (key == "calibration" and value.endswith(" random"))
