"""The manifest of a published version: where it came from, what belongs to it, and how it was proven."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generator.errors import RepositoryError
from generator.specs import Verification, Weights, Worst

SCHEMA = 1


@dataclass(frozen=True)
class FileRecord:
    """What a published file was: its SHA-256 (hex), size in bytes, and modification time in nanoseconds."""

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Read the file and record it."""
        stat = path.stat()
        return cls(sha256_of(path), stat.st_size, stat.st_mtime_ns)

    def matches(self, path: Path) -> bool:
        """Tell whether the file is still the same: its content is only read where size or time can't tell."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        if (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns):
            return True
        return stat.st_size == self.size and sha256_of(path) == self.sha256


@dataclass(frozen=True)
class SourceRecord:
    """What a model was made from, and how: ``preprocess`` is how a client prepares an input."""

    reference: str
    weights: Weights
    preprocess: Mapping[str, Any] | None
    exporter: str
    opset: int
    ir_version: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Provenance:
    """Enough to make a version again, and to tell how it was proven."""

    key: str
    source: SourceRecord
    options: Mapping[str, Any]
    tools: Mapping[str, str]
    verification: Verification

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Provenance":
        """Read what ``dataclasses.asdict`` and JSON made of one; KeyError or TypeError where it is damaged."""
        source, found = dict(document["source"]), dict(document["verification"])
        source.update(weights=Weights(**source["weights"]), notes=tuple(source["notes"]))
        found.update(mixing=tuple(found["mixing"]), notes=tuple(found["notes"]))
        if found["worst"]:
            found["worst"] = Worst(**{**found["worst"], "index": tuple(found["worst"]["index"])})
        return cls(**{**document, "source": SourceRecord(**source), "verification": Verification(**found)})


@dataclass(frozen=True)
class PendingPlan:
    """An entry of ``plans.lock``: a plan to build elsewhere, why, and the command that builds it from ``files``."""

    key: str
    reason: str
    command: str
    inputs: Mapping[str, Any]
    max_batch_size: int
    provenance: Provenance
    files: Mapping[str, FileRecord]
    status: str = "pending"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PendingPlan":
        """Read an entry; KeyError or TypeError where it is damaged."""
        files = {name: FileRecord(**record) for name, record in document["files"].items()}
        return cls(**{**document, "files": files, "provenance": Provenance.of(document["provenance"])})

    def is_intact(self, folder: Path) -> bool:
        """Tell whether every prepared file is as it was."""
        return all(record.matches(folder / name) for name, record in self.files.items())


@dataclass(frozen=True)
class Manifest:
    """One published version: files are named relative to the model's folder; ``config`` is the text that serves it."""

    name: str
    version: int
    backend: str
    created: str
    max_batch_size: int
    config: str
    files: Mapping[str, FileRecord]
    provenance: Provenance

    @property
    def untrained(self) -> bool:
        """Whether the model's weights were never trained."""
        return self.provenance.source.weights.untrained

    def content(self) -> dict[str, str]:
        """Return the digest of every file, whatever the version's number."""
        return content_of(self.files)

    def is_intact(self, folder: Path) -> bool:
        """Tell whether every file in the model's folder is as it was published."""
        return all(record.matches(folder / name) for name, record in self.files.items())

    def to_json(self) -> str:
        """Return the manifest as indented JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def content_of(files: Mapping[str, FileRecord]) -> dict[str, str]:
    """Return the digest of every file of a model's folder, whatever the number of its version folder."""
    return {name.partition("/")[2] or name: record.sha256 for name, record in files.items()}


def read(path: Path) -> Manifest:
    """Read a manifest; RepositoryError for one that is damaged or from a newer release."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document.pop("schema") != SCHEMA:
            raise RepositoryError(f"{path} was written by another release of modelrepo", "Upgrade modelrepo")
        files = {name: FileRecord(**record) for name, record in document.pop("files").items()}
        return Manifest(files=files, provenance=Provenance.of(document.pop("provenance")), **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RepositoryError(f"the manifest {path} is damaged: {error!r}", "Restore it from a backup") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of each file below a folder by its relative path."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {str(file.relative_to(path)): sha256_of(file) for file in files}
