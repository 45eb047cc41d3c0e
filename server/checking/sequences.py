"""Asking a served model in sequences: Triton's batcher adds the controls, which the source is given as inputs."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification.sequences import Step, controls, order

# Steps of a busy machine may come late; Triton ends a sequence that idles, after a second unless it is told.
IDLE_MICROSECONDS = 300_000_000


def unservable(config: Any) -> str:
    """Return why the local server can't answer a configuration's sequences, or an empty text."""
    from tritonclient.grpc import model_config_pb2

    if config.sequence_batching.state:
        return "the local server has no implicit state of sequences"
    written = (control for each in config.sequence_batching.control_input for control in each.control)
    if any(control.data_type == model_config_pb2.TYPE_STRING for control in written):
        # Mended in newer releases by triton-inference-server/core PR 339.
        return "the local server's Triton refuses correlation IDs of type TYPE_STRING, which it pads"
    return ""


def patient(text: str) -> str:
    """Return a configuration whose sequences may idle for minutes."""
    config = pbtxt.parse(text, "the configuration")
    config.sequence_batching.max_sequence_idle_microseconds = IDLE_MICROSECONDS
    return pbtxt.to_text(config)


class SequenceClient:
    """Sends each call as the next step of the sequences, over gRPC and without the controls; a context manager."""

    def __init__(self, grpc_url: str, config: Any, deadline: float) -> None:
        from tritonclient import grpc

        self._module, self._deadline = grpc, deadline
        self._client = grpc.InferenceServerClient(grpc_url.removeprefix("grpc://"))
        self._controls = controls(config).keys()
        self._steps: Iterator[Step] = iter(order(config))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def infer(self, model: str, inputs: Arrays) -> Arrays:
        """Return the outputs of the next step; VerificationError if Triton refuses it."""
        from tritonclient.utils import InferenceServerException

        step = next(self._steps)
        try:
            answer = self._client.infer(
                model,
                [self._tensor(name, array) for name, array in inputs.items() if name not in self._controls],
                sequence_id=step.identity,
                sequence_start=step.is_first,
                sequence_end=step.is_last,
                client_timeout=self._deadline,
            )
        except InferenceServerException as error:
            raise VerificationError(f"Triton refuses a step: {error.message()}") from error
        return {tensor.name: answer.as_numpy(tensor.name) for tensor in answer.get_response().outputs}

    def _tensor(self, name: str, array: Any) -> Any:
        from tritonclient.utils import np_to_triton_dtype

        tensor = self._module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        return tensor
