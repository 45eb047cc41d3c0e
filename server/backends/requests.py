"""What every backend does with the requests that Triton hands it together: join them, run once, split the answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from modelrepo.server.backends import tensors

Arrays = Mapping[str, NDArray[Any]]
# Answers named inputs with the named outputs that were asked for.
Infer = Callable[[Arrays, Sequence[str]], dict[str, NDArray[Any]]]


class Question(NamedTuple):
    """One request: its inputs as arrays, the outputs it wants, and how many samples it holds (0 without batching)."""

    inputs: Arrays
    outputs: tuple[str, ...]
    samples: int


class Requests:
    """Answers requests with a model's run; ``data_types`` are Triton's, by name of an input.

    It is made before a model gets its first request.
    """

    def __init__(self, run: Infer, data_types: Mapping[str, str], batched: bool) -> None:
        self.run, self.data_types, self.batched = run, data_types, batched
        tensors.prepare(strings="TYPE_STRING" in data_types.values())

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Return a response for every request, in order; what is wrong with one is answered to that one."""
        questions = [self._read(request) for request in requests]
        if self.batched and len(questions) > 1:
            try:
                return self._together(questions)
            except Exception as error:  # one differs or is wrong; which, shows when they are asked one by one
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
        asked = dict.fromkeys(question.outputs for question in questions)  # most often once
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
