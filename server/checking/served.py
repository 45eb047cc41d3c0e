"""A served model as a function from named arrays to named arrays, as verification calls models."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from modelrepo.clients import Client
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.verification.verify import Run

# Triton counts a request after it has answered it: how long to wait for the count, and how often to look.
COUNT_SECONDS, LOOK_SECONDS = 60.0, 0.01


class Asks(Protocol):
    """What sends one request, and returns the answer: a client."""

    def infer(self, model: str, inputs: Arrays, /) -> Arrays:
        """Run a model on named arrays, and return its outputs by name."""


class Adapter:
    """Converts between a model's own signature and Triton's: scalars are sent as ``[1]``, strings arrive as ``bytes``.

    ``max_batch_size`` is the configuration's: above 0, every array has the batch as its leading axis. ``answered``
    counts the samples that were answered.
    """

    def __init__(self, name: str, signature: Signature, max_batch_size: int) -> None:
        self.name, self.signature, self.max_batch_size = name, signature, max_batch_size
        self.answered = 0

    def whole(self, client: Asks) -> Run:
        """Return a run that sends its arrays as one request."""

        def run(arrays: Arrays) -> Mapping[str, Any]:
            answer = client.infer(self.name, self._written(arrays))
            self.answered += len(next(iter(arrays.values()))) if self.max_batch_size else 1
            return self._read(answer)

        return run

    def single(self, client: Client, in_flight: int) -> Run:
        """Return a run that sends each sample of a batch as a request of its own, ``in_flight`` at a time."""

        def run(arrays: Arrays) -> Mapping[str, Any]:
            answers = list(client.infer_many(self.name, self._written(arrays), 1, in_flight))
            self.answered += len(answers)
            return self._read({name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]})

        return run

    def _written(self, arrays: Arrays) -> Arrays:
        given = (spec for spec in self.signature.inputs if spec.name in arrays)
        return {spec.name: self._with_dims(arrays[spec.name], spec) for spec in given}

    def _with_dims(self, array: Array, spec: TensorSpec) -> Array:
        """Return an array with the dimension that Triton requires for tensors with one value a sample."""
        bare = len(spec.shape) == (1 if self.max_batch_size else 0)
        return np.asarray(array)[..., np.newaxis] if bare else array

    def _read(self, answers: Arrays) -> Mapping[str, Any]:
        return {spec.name: self._own(answers[spec.name], spec) for spec in self.signature.outputs}

    def _own(self, array: Array, spec: TensorSpec) -> Array:
        own = 1 if self.max_batch_size else 0
        # An output that declares no shape looks bare, and need not be.
        bare = len(spec.shape) == own and array.shape[own:] == (1,)
        array = array[..., 0] if bare else array
        if array.dtype != np.object_:
            return array
        items = [item.decode(errors="surrogateescape") for item in array.ravel()]  # a step may give any bytes
        return np.array(items, np.object_).reshape(array.shape)


def batches(client: Client, name: str, answered: int) -> dict[int, int]:
    """Return how many batches of each size a model has executed since it was loaded, and answered so many samples."""
    deadline = time.monotonic() + COUNT_SECONDS
    while True:
        found = client.statistics(name)
        if sum(version.inferences for version in found) >= answered or time.monotonic() > deadline:
            return {each.batch_size: each.compute_infer.count for version in found for each in version.batches}
        time.sleep(LOOK_SECONDS)
