"""The manifest of a published version: its source, its files, and how it was proven."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.specs.findings import Accuracy, Coverage, Live, Optimization, Verification, Worst
from modelrepo.generator.specs.plans import BuiltPlan
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from modelrepo.generator.system.digests import FileRecord, are_intact, content_of

SCHEMA = 1
# The content key of a record that was made from the files of a repository alone: no options lead to it.
REBUILT = "rebuilt"


@dataclass(frozen=True)
class SourceRecord:
    """The source of a model, and how it was exported."""

    reference: str
    weights: Weights
    preprocess: Mapping[str, Any] | None  # how a client prepares an input
    exporter: str
    opset: int
    ir_version: int
    notes: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = ()  # with the values that each may have; empty in manifests of earlier releases
    # What a client has for each input that takes it as it is: "pixels", "text" or "encoded image", by its name.
    input_kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """The record of how a version was made and proven: enough to make it again."""

    key: str  # the content key
    source: SourceRecord
    options: Mapping[str, Any]
    tools: Mapping[str, str]  # package -> version
    verification: Verification
    plans: tuple[BuiltPlan, ...] = ()  # one for each compute capability
    optimization: Optimization = field(default_factory=Optimization)

    @property
    def rebuilt(self) -> bool:
        """Whether the record was lost, and made anew from the files: nothing is known of the source, or proven."""
        return self.key == REBUILT

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Provenance":
        """Read one from JSON as ``dataclasses.asdict`` wrote it; KeyError or TypeError if it is damaged."""
        check_kinds(document, key=str, options=Mapping)
        source, found = dict(document["source"]), dict(document["verification"])
        source.update(
            weights=Weights(**source["weights"]),
            notes=tuple(source["notes"]),
            inputs=tuple(_tensor(tensor) for tensor in source.get("inputs", ())),
        )
        found.update(mixing=tuple(found["mixing"]), notes=tuple(found["notes"]))
        if found.get("live"):
            found["live"] = Live(**{**found["live"], "notes": tuple(found["live"]["notes"])})
        if found.get("coverage"):
            lists = {name: tuple(found["coverage"][name]) for name in ("missing", "reasons")}
            found["coverage"] = Coverage(**{**found["coverage"], **lists})
        if found.get("accuracy"):
            found["accuracy"] = Accuracy(**found["accuracy"])
        if found["worst"]:
            found["worst"] = Worst(**{**found["worst"], "index": tuple(found["worst"]["index"])})
        return cls(
            **{
                **document,
                "source": SourceRecord(**source),
                "verification": Verification(**found),
                "plans": tuple(BuiltPlan.of(plan) for plan in document.get("plans", ())),
                "optimization": _optimization(document.get("optimization", {})),
            }
        )


def _optimization(document: Mapping[str, Any]) -> Optimization:
    """Read the changes made to a model; earlier releases recorded none."""
    lists = {name: tuple(document[name]) for name in ("done", "kept") if name in document}
    accuracy = document.get("accuracy")
    return Optimization(**{**document, **lists, "accuracy": Accuracy(**accuracy) if accuracy else None})


def _tensor(document: Mapping[str, Any]) -> TensorSpec:
    lists = {
        name: tuple(document["domain"].get(name, ())) for name in ("choices", "center", "spread", "edges", "others")
    }
    domain = Domain(**{**document["domain"], **lists})
    shape = tuple(document["shape"])
    sizes = {dim: tuple(each) for dim, each in document.get("sizes", {}).items()}
    return TensorSpec(**{**document, "shape": shape, "domain": domain, "sizes": sizes})


@dataclass(frozen=True)
class Manifest:
    """The manifest of one published version."""

    name: str
    version: int
    backend: str
    created: str
    max_batch_size: int
    config: str  # the text of config.pbtxt
    files: Mapping[str, FileRecord]  # by path relative to the model's folder
    provenance: Provenance

    @property
    def untrained(self) -> bool:
        """Whether the model's weights were never trained."""
        return self.provenance.source.weights.untrained

    @property
    def sidecars(self) -> dict[str, FileRecord]:
        """The files next to the version folders, shared by all versions."""
        return {name: record for name, record in self.files.items() if "/" not in name}

    def content(self) -> dict[str, str]:
        """Return the digest of every file, independent of the version's number."""
        return content_of(self.files)

    def is_intact(self, folder: Path) -> bool:
        """Whether the version's own files are unchanged, and the shared ones exist."""
        own = {name: record for name, record in self.files.items() if name not in self.sidecars}
        return are_intact(own, folder) and all((folder / name).exists() for name in self.sidecars)

    def to_json(self) -> str:
        """Return the manifest as indented JSON; a field that earlier releases don't know is there if it says more."""
        document = {"schema": SCHEMA, **asdict(self)}
        if not self.provenance.source.input_kinds:
            del document["provenance"]["source"]["input_kinds"]
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read(path: Path) -> Manifest:
    """Read a manifest; RepositoryError if it is damaged or from a newer release."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if (schema := document.pop("schema")) != SCHEMA:
            raise RepositoryError(
                f"{path} was written by another release of modelrepo (schema {schema!r}, this one reads {SCHEMA})",
                "Upgrade modelrepo",
            )
        check_kinds(document, name=str, version=int, backend=str, created=str, max_batch_size=int, config=str)
        datetime.fromisoformat(document["created"])
        files = {name: FileRecord(**record) for name, record in document.pop("files").items()}
        found = Manifest(files=files, provenance=Provenance.of(document.pop("provenance")), **document)
        if (found.name, str(found.version)) != (path.parent.name, path.stem):
            raise ValueError(f"it is that of {found.name}, version {found.version}")
        return found
    except UnicodeDecodeError:
        raise _damaged(path, "it is not UTF-8 text") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, repr(error)) from error


def _damaged(path: Path, why: str) -> RepositoryError:
    return RepositoryError(
        f"the manifest {path} is damaged: {why}",
        f"Restore it from a backup, or move it away and run modelrepo versions --rebuild {path.parent.name}",
    )
