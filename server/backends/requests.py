"""What every backend does with the requests that Triton hands it together: join them, run once, split the answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from server.backends import tensors

Arrays = Mapping[str, NDArray[Any]]
# Answers named inputs with the named outputs that were asked for.
Run = Callable[[Arrays, Sequence[str]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Question:
    """One request: its inputs as arrays, the outputs it wants, and how many samples it holds (0 without batching)."""

    inputs: Arrays
    outputs: tuple[str, ...]
    samples: int


class Requests:
    """Answers requests with a model's run; ``data_types`` are Triton's, by name of an input."""

    def __init__(self, run: Run, data_types: Mapping[str, str], batched: bool) -> None:
        self.run, self.data_types, self.batched = run, data_types, batched

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Return a response for every request, in order; what is wrong with one is answered to that one."""
        questions = [self._read(request) for request in requests]
        if self.batched and len(questions) > 1 and _alike(questions):
            try:
                return self._together(questions)
            except Exception as error:  # whose fault it is shows when they are asked one by one
                pb_utils.Logger.log_verbose(f"asking {len(questions)} requests one by one: {error}")
        return [self._alone(question) for question in questions]

    def _read(self, request: Any) -> Question:
        inputs = {
            tensor.name(): tensors.to_array(tensor, self.data_types[tensor.name()]) for tensor in request.inputs()
        }
        samples = len(next(iter(inputs.values()))) if self.batched else 0
        return Question(inputs, tuple(request.requested_output_names()), samples)

    def _alone(self, question: Question) -> Any:
        try:
            return _response(self.run(question.inputs, question.outputs))
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))

    def _together(self, questions: Sequence[Question]) -> list[Any]:
        joined = {name: np.concatenate([each.inputs[name] for each in questions]) for name in questions[0].inputs}
        wanted = tuple(dict.fromkeys(name for question in questions for name in question.outputs))
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


def _alike(questions: Sequence[Question]) -> bool:
    """Tell whether requests differ in nothing but their number of samples."""
    shapes = {tuple((name, array.shape[1:]) for name, array in sorted(each.inputs.items())) for each in questions}
    return len(shapes) == 1


def _response(answers: Arrays) -> Any:
    return pb_utils.InferenceResponse([tensors.from_array(name, array) for name, array in answers.items()])
