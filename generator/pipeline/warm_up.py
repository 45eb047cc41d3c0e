"""Which zeros Triton warms a model up with: some that its source and the served graph answer, or none.

A warm-up that a model fails on makes the load fail, and one that a kernel does not check can end the whole server.
"""

from collections.abc import Mapping

import numpy as np

from modelrepo.generator.configuration.decisions import Decisions
from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.verify import Run

Shapes = Mapping[str, tuple[int, ...]]
NONE = "no warm-up: the model does not answer zeros"


class Seen:
    """Watches a converted model, and notes the shapes of the first input that it answers.

    Verification asks it nothing that its source refuses, and single samples first.
    """

    def __init__(self) -> None:
        self.shapes: Shapes | None = None
        self._run: Run | None = None

    def watching(self, run: Run) -> Run:
        """Return a run that is watched."""

        def watched(arrays: Arrays) -> Mapping[str, Array]:
            answers = run(arrays)
            if self.shapes is None:
                self.shapes = {name: array.shape for name, array in arrays.items()}
            return answers

        self._run = run
        return watched

    def zeros(self, source: Run, signature: Signature, max_batch_size: int) -> Shapes | None:
        """Return shapes of which both models answer zeros, one sample if they are batched; None if there are none.

        The source is asked first: a converted model may end this process on an input that the source refuses.
        """
        shapes = self.shapes
        if shapes is None or self._run is None or (max_batch_size and any(each[0] != 1 for each in shapes.values())):
            return None
        zeros = {spec.name: _zeros(spec, shapes[spec.name]) for spec in signature.inputs if spec.name in shapes}
        return shapes if _answers(source, zeros) and _answers(self._run, zeros) else None


def is_answered(decisions: Decisions, proven: Proven) -> bool:
    """Whether the model that is served answers the zeros of a configuration's warm-up.

    A lower precision may fail on zeros that the source answers, and profiles may ask for other sizes.
    """
    one = (1,) if decisions.max_batch_size else ()
    specs = {spec.name: spec for spec in proven.export.signature.inputs if not spec.optional}
    zeros = {}
    for tensor in decisions.inputs:
        if spec := specs.get(tensor.name):
            zeros[tensor.name] = _zeros(spec, (*one, *tensor.warmup_dims)[: len(spec.shape)])
    return _answers(proven.reference.recall, zeros)


def _answers(run: Run, arrays: Arrays) -> bool:
    try:
        run(arrays)
    except VerificationError:
        return False
    return True


def _zeros(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Return zeros as Triton writes them: strings are empty."""
    return np.full(shape, "", object) if spec.dtype == "object" else np.zeros(shape, spec.dtype)
