"""An ensemble in Python: the references of its members, one after the other. Triton's answers are compared with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.shapes import dtype_name, full_dims, shape_words, triton_type
from modelrepo.generator.errors import InputRefused, ModelRepoError, VerificationError
from modelrepo.generator.specs.tensors import Array, Arrays


@dataclass(frozen=True)
class Stage:
    """A step that is wired: the tensors of the ensemble that its model takes and gives, by the model's own names."""

    name: str
    member: Member
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Pipeline:
    """The steps of an ensemble as one function; they are in an order in which each has what it takes."""

    def __init__(self, stages: Sequence[Stage], outputs: Sequence[str]) -> None:
        self.stages, self.outputs = stages, outputs

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        """Return the outputs of the ensemble, by name; errors name the step that fails.

        Raises InputRefused for inputs that a step refuses, and VerificationError for a step that answers with another
        type or shape than its configuration says.
        """
        tensors = dict(arrays)
        for _, _, given in self.steps(arrays):
            tensors |= given
        return {name: _as_text(tensors[name]) for name in self.outputs}

    def steps(self, arrays: Arrays) -> Iterator[tuple[Stage, Arrays, Arrays]]:
        """Yield each step with what its model takes, by its own names, and what it gives, by the ensemble's names."""
        tensors = dict(arrays)
        for stage in self.stages:
            taken = {port: tensors[name] for port, name in stage.inputs.items() if name in tensors}
            answers = _answered(stage, taken)
            given = {name: answers[port] for port, name in stage.outputs.items()}
            tensors |= given
            yield stage, taken, given


def _as_text(array: Array) -> Array:
    """Return strings as str, whether a step gave them so or as bytes: as served ones are read for the comparison."""
    if array.dtype != np.object_:
        return array
    items = [item.decode(errors="surrogateescape") if isinstance(item, bytes) else item for item in array.ravel()]
    return np.array(items, np.object_).reshape(array.shape)


def _answered(stage: Stage, taken: Arrays) -> Arrays:
    try:
        answers = {name: np.asarray(array) for name, array in stage.member.reference(taken).items()}
    except InputRefused as error:
        raise InputRefused(f"step {stage.name!r}: {error.message}", error.hint) from error
    except ModelRepoError as error:
        raise type(error)(f"step {stage.name!r}: {error.message}", error.hint) from error
    config = stage.member.config
    for tensor in config.output:
        if tensor.name in stage.outputs:
            wrong = _misfit(tensor, answers.get(tensor.name), batched=config.max_batch_size > 0)
            if wrong:
                raise VerificationError(f"step {stage.name!r} ({stage.member.name}) {wrong}")
    return answers


def _misfit(tensor: Any, array: "Array | None", *, batched: bool) -> str:
    """Return how an answer is of another type or shape than a configuration says; empty if it is not."""
    if array is None:
        return f"does not answer {tensor.name!r}"
    wanted, dims = triton_type(tensor.data_type), full_dims(tensor, batched=batched)
    got = dtype_name(array)
    fits = len(dims) == array.ndim and all(dim in (-1, size) for dim, size in zip(dims, array.shape, strict=True))
    if got == wanted and fits:
        return ""
    return f"answers {tensor.name!r} with {got} {shape_words(array.shape)} instead of {wanted} {shape_words(dims)}"
