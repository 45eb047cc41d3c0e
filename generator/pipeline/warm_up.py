"""Which zeros Triton warms a model up with: some that its source and the served graph answer, or none.

A warm-up that a model fails on makes the load fail, and one that a kernel does not check can end the whole server.
"""

from collections.abc import Mapping

import numpy as np

from modelrepo.generator.configuration.decisions import Decisions
from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec, first_sizes
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
        self.run: Run | None = None  # the model, which takes long to open again

    def watching(self, run: Run) -> Run:
        """Return a run that is watched."""

        def watched(arrays: Arrays) -> Mapping[str, Array]:
            answers = run(arrays)
            if self.shapes is None:
                self.shapes = {name: array.shape for name, array in arrays.items()}
            return answers

        self.run = run
        return watched


def answered(shapes: Shapes | None, source: Run, converted: Run, signature: Signature, batched: bool) -> Shapes | None:
    """Return the shapes if both models answer zeros of them, and None otherwise.

    Without any shapes, those of the smallest input are tried. A warm-up of a ``batched`` model is one sample. The
    source is asked first: a converted model may end this process on an input that its source refuses.
    """
    inputs = signature.required.inputs
    shapes = shapes or {spec.name: spec.sized(first_sizes(inputs)) for spec in inputs}
    if batched and any(shape[0] != 1 for shape in shapes.values()):
        return None
    zeros = {spec.name: _zeros(spec, shapes[spec.name]) for spec in signature.inputs if spec.name in shapes}
    return shapes if _answers(source, zeros) and _answers(converted, zeros) else None


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
