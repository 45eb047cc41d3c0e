"""TensorRT plans as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.specs.options import Tolerance


def check_kinds(document: Mapping[str, Any], **kinds: type | tuple[type, ...]) -> None:
    """Raise TypeError where a value is of another type than it is written in; a missing one is another's to notice."""
    for name, kind in kinds.items():
        if name in document and not isinstance(document[name], kind):
            raise TypeError(f"{name} is {document[name]!r}")


def tolerance_of(document: Mapping[str, Any]) -> Tolerance:
    """Read what ``dataclasses.asdict`` and JSON made of one; TypeError where it is damaged."""
    check_kinds(document, relative=(int, float), absolute=(int, float))
    return Tolerance(**document)


@dataclass(frozen=True)
class PlanProof:
    """How a TensorRT plan was compared with ONNX Runtime on the GPU that it was built on.

    ``cases`` are the inputs that both were asked; ``max_rel_diff`` is the largest difference over the largest magnitude
    of the same sample's output; ``tolerance`` is the limit that held: the user's, or that of the precision.
    """

    cases: int
    max_rel_diff: float
    tolerance: Tolerance

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PlanProof":
        """Read what ``dataclasses.asdict`` and JSON made of one; KeyError or TypeError where it is damaged."""
        check_kinds(document, cases=int, max_rel_diff=(int, float))
        return cls(**{**document, "tolerance": tolerance_of(document["tolerance"])})


@dataclass(frozen=True)
class BuiltPlan:
    """A TensorRT plan: its SHA-256 (hex), what it was built from, where, and how it was proven; None for not at all.

    ``inputs`` are those of its entry in ``plans.lock`` when it was built. ``compute_capability`` is that of the GPU,
    such as "8.9", ``tensorrt`` the version in the plan's header, and ``way`` says what built it: process, container, or
    build-plans, the service of docker-compose.yml.
    """

    sha256: str
    inputs: Mapping[str, Any]
    gpu: str
    compute_capability: str
    tensorrt: str
    way: str
    created: str
    proof: PlanProof | None = None

    def is_proven(self, limit: Tolerance) -> bool:
        """Tell whether its answers were compared with this limit, and held it."""
        return self.proof is not None and self.proof.tolerance == limit

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "BuiltPlan":
        """Read what ``dataclasses.asdict`` and JSON made of one; KeyError or TypeError where it is damaged."""
        check_kinds(document, sha256=str, inputs=Mapping, gpu=str, compute_capability=str, tensorrt=str, way=str)
        proof = document.get("proof")
        return cls(**{**document, "proof": PlanProof.of(proof) if proof else None})
