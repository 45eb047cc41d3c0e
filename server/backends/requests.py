"""Answering the requests that Triton passes to a backend together: join them, run once, split the answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from modelrepo.server.backends import tensors

Arrays = Mapping[str, NDArray[Any]]
# Returns the outputs with the given names for named inputs.
Infer = Callable[[Arrays, Sequence[str]], dict[str, NDArray[Any]]]


class Question(NamedTuple):
    """One request: its inputs as arrays, its requested outputs, and its number of samples (0 without batching)."""

    inputs: Arrays
    outputs: tuple[str, ...]
    samples: int


class Requests:
    """Answers requests with a model; ``data_types`` are Triton's, by input name.

    It must be made before the model gets its first request.
    """

    def __init__(self, run: Infer, data_types: Mapping[str, str], batched: bool) -> None:
        self.run, self.data_types, self.batched = run, data_types, batched
        tensors.prepare(strings="TYPE_STRING" in data_types.values())

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Return a response for every request, in order; a bad request gets its own error."""
        questions = [self._read(request) for request in requests]
        if self.batched and len(questions) > 1:
            try:
                return self._together(questions)
            except Exception as error:  # one differs or is bad; asking them one by one shows which
                pb_utils.Logger.log_verbose(f"asking {len(questions)} requests one by one: {error}")
        return [self._alone(question) for question in questions]

    def _read(self, request: Any) -> Question:
        named = [(tensor.name(), tensor) for tensor in request.inputs()]
        inputs = {name: tensors.to_array(tensor, self.data_types[name]) for name, tensor in named}
        samples = len(next(iter(inputs.values()))) if self.batched else 0
        return Question(inputs, tuple(request.requested_output_names()), samples)

    def _alone(self, question: Question) -> Any:
        try:
            return _response(self.run(question.inputs, question.outputs))
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))

    def _together(self, questions: Sequence[Question]) -> list[Any]:
        joined = {name: np.concatenate([each.inputs[name] for each in questions]) for name in questions[0].inputs}
        asked = dict.fromkeys(question.outputs for question in questions)  # usually one set
        wanted = tuple(dict.fromkeys(name for outputs in asked for name in outputs))
        answers = self.run(joined, wanted)
        total = sum(question.samples for question in questions)
        if any(len(answer) != total for answer in answers.values()):
            raise ValueError(f"an output does not have the batch's {total} samples")
        responses, start = [], 0
        for question in questions:
            end = start + question.samples
            responses.append(_response({name: answers[name][start:end] for name in question.outputs}))
            start = end
        return responses


def _response(answers: Arrays) -> Any:
    return pb_utils.InferenceResponse([tensors.from_array(name, array) for name, array in answers.items()])
