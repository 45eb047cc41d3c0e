"""Plans that wait to be built."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.repository.manifest import Provenance
from modelrepo.generator.specs.plans import check_kinds
from modelrepo.generator.system.digests import FileRecord, are_intact


@dataclass(frozen=True)
class PendingPlan:
    """An entry of ``plans.lock``: a plan to build elsewhere, why, and the command that builds it from ``files``.

    ``inputs`` are a PlanSpec as JSON, and the arguments of ``trtexec``. ``version`` is the one that the prepared
    config.pbtxt was rendered for; entries of earlier releases have none, and can't be built.
    """

    reason: str
    command: str
    inputs: Mapping[str, Any]
    max_batch_size: int
    provenance: Provenance
    files: Mapping[str, FileRecord]
    version: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PendingPlan":
        """Read an entry; KeyError or TypeError where it is damaged."""
        check_kinds(document, reason=str, command=str, inputs=Mapping, max_batch_size=int, version=(int, type(None)))
        check_kinds(document["provenance"]["options"], seed=int, version_policy=(Mapping, type(None)))
        files = {name: FileRecord(**record) for name, record in document["files"].items()}
        known = {name: value for name, value in document.items() if name != "status"}  # of earlier releases
        return cls(**{**known, "files": files, "provenance": Provenance.of(document["provenance"])})

    @property
    def precision(self) -> str:
        """The precision that the plan has, or will have."""
        return str(self.inputs.get("precision", "fp32"))

    def is_intact(self, folder: Path) -> bool:
        """Tell whether every prepared file is as it was."""
        return are_intact(self.files, folder)
