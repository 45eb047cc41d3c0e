"""Asking a served model in sequences: Triton's batcher adds the controls, which the source is given as inputs."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple, Self

import numpy as np

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Arrays, Signature
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification.inputs import Pool, generated
from modelrepo.generator.verification.verify import Run, usable

# Two sequences of three steps: a first one, one between, and a last one.
LENGTH, IDS = 3, (1001, 1002)
# Steps of a busy machine may come late; Triton ends a sequence that idles, after a second unless it is told.
IDLE_MICROSECONDS = 300_000_000
FALSE_TRUE = ("int32_false_true", "fp32_false_true", "bool_false_true")
UNANSWERED = "the source answers none of the generated inputs as steps of a sequence"


class Step(NamedTuple):
    """One request of a sequence."""

    identity: int
    is_first: bool
    is_last: bool


def order(config: Any) -> tuple[Step, ...]:
    """Return the steps to send: of both sequences in turn, if the model takes two at a time."""
    batcher = config.sequence_batching
    at_a_time = batcher.oldest.max_candidate_sequences if batcher.HasField("oldest") else config.max_batch_size
    one_by_one = min(at_a_time, config.max_batch_size) < len(IDS)
    numbers = range(LENGTH)
    pairs = [(i, n) for i in IDS for n in numbers] if one_by_one else [(i, n) for n in numbers for i in IDS]
    return tuple(Step(identity, number == 0, number == LENGTH - 1) for identity, number in pairs)


def controls(config: Any) -> dict[str, tuple[Any, ...]]:
    """Return the value of each control input of a ModelConfig at each step."""
    from tritonclient.grpc import model_config_pb2

    names = model_config_pb2.ModelSequenceBatching.Control.Kind
    return {
        each.name: tuple(_value(names.Name(control.kind), control, step) for step in order(config))
        for each in config.sequence_batching.control_input
        for control in each.control
    }


def _value(kind: str, control: Any, step: Step) -> Any:
    if kind == "CONTROL_SEQUENCE_CORRID":
        return step.identity
    happens = {"CONTROL_SEQUENCE_START": step.is_first, "CONTROL_SEQUENCE_END": step.is_last}.get(kind, True)
    return next(values[happens] for values in (getattr(control, field) for field in FALSE_TRUE) if values)


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


def asked(config: Any, signature: Signature, source: Run, samples: Iterable[Pool], seed: int) -> Pool:
    """Return a row for each step, with its controls: the user's samples if there are some, or generated inputs.

    Raises VerificationError if the source answers none of them.
    """
    values = controls(config)
    count = len(order(config))
    for pool in (*samples, *(pool for _, pool in generated(signature, count, seed))):
        try:
            rows = usable(_with(pool, {name: each[1] for name, each in values.items()}), source, signature)
            steps = _with(rows.only(list(islice(cycle(range(len(rows.families))), count))), values)
            if len(usable(steps, source, signature).families) == count:
                return Pool(steps.arrays, tuple(f"{family}, as a step" for family in steps.families))
        except VerificationError:
            continue
    raise VerificationError(UNANSWERED, "Give inputs that it answers with --samples")


def _with(pool: Pool, values: Mapping[str, Any]) -> Pool:
    """Return a pool with these values of its controls: one, or a tuple of one a row."""
    arrays = dict(pool.arrays)
    for name, value in values.items():
        filled = arrays[name].copy()
        for row, each in enumerate(value if isinstance(value, tuple) else [value] * len(filled)):
            filled[row, ...] = each
        arrays[name] = filled
    return Pool(arrays, pool.families)


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
