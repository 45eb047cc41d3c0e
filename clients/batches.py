"""Splitting many samples into requests, and merging the answers."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from modelrepo.clients.errors import InputError
from modelrepo.clients.inputs import Inputs, by_name, plain_array
from modelrepo.clients.models import Answered, Array, Model

IN_FLIGHT = 4


def split(model: Model, inputs: Inputs, batch_size: int | None, max_in_flight: int) -> Iterator[dict[str, Array]]:
    """Yield the inputs of each request: slices, not copies, of arrays with a leading sample axis.

    A request holds ``batch_size`` samples, by default ``max_batch_size``. For a model that does not batch it holds one
    sample without that axis. InputError is raised at once, not with the first request.
    """
    arrays = {name: _samples(name, value) for name, value in by_name(model, inputs).items()}
    sizes = {name: len(array) for name, array in arrays.items()}
    count = min(sizes.values(), default=0)
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(f"the inputs of {model.name} have different numbers of samples: {counts}")
    if not count:
        raise InputError(f"no samples for {model.name}", "Every input has a leading axis with one entry a sample")
    if max_in_flight < 1:
        raise InputError(f"max_in_flight is {max_in_flight}", "Give at least 1")
    size = _batch_size(model, batch_size)
    if not model.max_batch_size:
        return ({name: array[number] for name, array in arrays.items()} for number in range(count))
    starts = range(0, count, size)
    return ({name: array[start : start + size] for name, array in arrays.items()} for start in starts)


def _samples(name: str, value: Any) -> Array:
    array = plain_array(value, name)
    if not array.ndim:
        raise InputError(f"the input {name} was given a single value", "It needs a leading axis, one entry a sample")
    return array


def _batch_size(model: Model, asked: int | None) -> int:
    if asked is None:
        return model.max_batch_size or 1
    if not 1 <= asked <= max(1, model.max_batch_size):
        takes = f"takes 1 to {model.max_batch_size}" if model.max_batch_size else "does not batch"
        raise InputError(f"can't use the batch size {asked}: {model.name} {takes}")
    return asked


def merge(model: Model, answers: Iterable[Answered]) -> Answered:
    """Join the answers of ``split``'s requests: along the batch axis, or a new one if the model does not batch.

    The version is that of the last answer.
    """
    collected = list(answers)
    join = np.concatenate if model.max_batch_size else np.stack
    try:
        joined = {name: join([answer[name] for answer in collected]) for name in collected[0]}
    except ValueError as error:
        raise InputError(
            f"the answers of {model.name} differ in shape from sample to sample", "Take them one by one from infer_many"
        ) from error
    return Answered(joined, collected[-1].version)
