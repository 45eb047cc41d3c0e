"""Sequences of requests: Triton's batcher adds the controls, which the source is given as inputs."""

from collections.abc import Iterable, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Signature
from modelrepo.generator.verification.inputs import Pool, generated
from modelrepo.generator.verification.verify import Run, usable

# Two sequences of three steps: a first one, one between, and a last one.
LENGTH, IDS = 3, (1001, 1002)
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
