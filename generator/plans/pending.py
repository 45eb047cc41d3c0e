"""TensorRT plans that are prepared and not yet built."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.repository.manifest import Provenance
from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.system.digests import FileRecord, are_intact


@dataclass(frozen=True)
class PendingPlan:
    """An entry of ``plans.lock``: a prepared TensorRT plan that is still to be built."""

    reason: str  # why it was not built when it was prepared
    command: str  # builds it from ``files``
    inputs: Mapping[str, Any]  # a PlanSpec as JSON, and the arguments of ``trtexec``
    max_batch_size: int
    provenance: Provenance
    files: Mapping[str, FileRecord]  # by path in the plan's folder
    # The version that the prepared config.pbtxt was rendered for; earlier releases wrote none, and can't be built.
    version: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PendingPlan":
        """Read an entry; KeyError or TypeError if it is damaged."""
        check_kinds(document, reason=str, command=str, inputs=Mapping, max_batch_size=int, version=(int, type(None)))
        check_kinds(document["provenance"]["options"], seed=int, version_policy=(Mapping, type(None)))
        files = {name: FileRecord(**record) for name, record in document["files"].items()}
        known = {name: value for name, value in document.items() if name != "status"}  # written by earlier releases
        return cls(**{**known, "files": files, "provenance": Provenance.of(document["provenance"])})

    @property
    def precision(self) -> str:
        """The precision of the plan."""
        return str(self.inputs.get("precision", "fp32"))

    def is_intact(self, folder: Path) -> bool:
        """Whether every prepared file is unchanged."""
        return are_intact(self.files, folder)
