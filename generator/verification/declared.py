"""Answers beside the shapes that are declared for them, which Triton tells its clients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.verification.verify import Run


def as_declared(run: Run, signature: Signature) -> Run:
    """Return a run that raises VerificationError for an answer with another shape than its output declares.

    It is raised at once for a session that tells another shape: Triton could not load the model.
    """
    _check_told(getattr(run, "told", {}), signature)

    def checked(arrays: Arrays) -> Mapping[str, Array]:
        answers = run(arrays)
        for spec in signature.outputs:
            shape = np.shape(answers[spec.name])
            if spec.shape and not fits(spec.shape, shape):  # () may be an output that declares no shape
                raise VerificationError(
                    f"output {spec.name!r} answers with the shape {list(shape)}, but the exported model declares "
                    f"{spec}, which Triton would tell its clients",
                    "Export it with that dimension dynamic: its size depends on the values of the inputs",
                )
        return answers

    return checked


def _check_told(told: Mapping[str, Sequence[Any]], signature: Signature) -> None:
    for spec in signature.outputs:
        sizes = told.get(spec.name, ())
        if len(sizes) != len(spec.shape):
            continue
        pairs = zip(sizes, spec.shape, strict=True)
        if any(isinstance(one, int) and isinstance(own, int) and one != own for one, own in pairs):
            raise VerificationError(
                f"ONNX Runtime infers the shape [{', '.join(map(str, sizes))}] of output {spec.name!r}, which answers "
                f"with {spec}: Triton could not load the model",
                "Write the layer that answers it with fixed padding, or let another layer follow it",
            )


def fits(declared: Sequence[Any], shape: Sequence[int]) -> bool:
    """Whether an answer has a declared shape; dimensions that are not numbers may have any size."""
    pairs = zip(declared, shape, strict=False)
    return len(declared) == len(shape) and all(not isinstance(size, int) or size == own for size, own in pairs)
