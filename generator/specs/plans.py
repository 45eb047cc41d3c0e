"""TensorRT plans as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.specs.options import Tolerance


@dataclass(frozen=True)
class PlanProof:
    """How a TensorRT plan was compared with ONNX Runtime, on the GPU that it was built on."""

    cases: int  # inputs that both were run on
    max_rel_diff: float  # the largest difference / the largest magnitude of the same sample's output
    tolerance: Tolerance  # the user's, or the precision's

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PlanProof":
        """Read one from JSON as ``dataclasses.asdict`` wrote it; KeyError or TypeError if it is damaged."""
        check_kinds(document, cases=int, max_rel_diff=(int, float))
        return cls(**{**document, "tolerance": Tolerance.of(document["tolerance"])})


@dataclass(frozen=True)
class BuiltPlan:
    """A TensorRT plan: how it was built and proven."""

    sha256: str  # of the plan, hex
    inputs: Mapping[str, Any]  # those of its entry in ``plans.lock`` at the time
    gpu: str
    compute_capability: str  # such as "8.9"
    tensorrt: str  # the version in the plan's header
    way: str  # process, container, or build-plans (the service of docker-compose.yml)
    created: str
    proof: PlanProof | None = None  # None: not compared with anything

    def is_proven(self, limit: Tolerance) -> bool:
        """Whether its answers were compared, and were within this limit."""
        return self.proof is not None and self.proof.tolerance == limit

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "BuiltPlan":
        """Read one from JSON as ``dataclasses.asdict`` wrote it; KeyError or TypeError if it is damaged."""
        check_kinds(document, sha256=str, inputs=Mapping, gpu=str, compute_capability=str, tensorrt=str, way=str)
        proof = document.get("proof")
        return cls(**{**document, "proof": PlanProof.of(proof) if proof else None})
