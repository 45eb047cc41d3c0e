"""Warm-up requests, and their data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.data import (
    BYTES,
    COUNTED_SINCE,
    MOST_BYTES,
    MOST_MEMORY,
    MUCH_MEMORY,
    bytes_of,
    elements_of,
    enum_name,
    located,
    uncounted,
    unreadable,
)
from modelrepo.generator.lint.declared import is_complete, is_ensemble
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import Key

WARMUP = "warmup"
# What a request takes in memory, at least; and the number of requests with which nobody warms up.
REQUEST_BYTES, MANY = 1000, 1_000_000
# Backends that refuse a batch that is larger than max_batch_size: a warm-up then never ends well.
LIMITED = ("onnxruntime", "tensorrt", "pytorch", "openvino", "tensorflow", "python")


def data(case: Case) -> Iterator[Problem]:
    """Find inputs of warm-up requests whose dimensions or data are not given."""
    for place, name, tensor in _inputs(case):
        given = tensor.WhichOneof("input_data_type")
        if elements_of(tensor.dims) == -1:
            words = f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
            yield refused(place, words, "Write the sizes that most requests have")
        elif given is None:
            words = f"warmup setting expects input '{name}' to have input_data_type set"
            yield refused(place, words, DATA.write)
        elif given == "input_data_file":
            yield from _file(place, name, tensor, case)
        elif MOST_MEMORY <= bytes_of(enum_name(tensor, "data_type"), tensor.dims) <= MOST_BYTES:
            says = f"The server dies: it asks for more memory than there is for the data of {name}"
            yield Problem(place, says, "Write the sizes that most requests have")


def _file(place: Place, name: str, tensor: Any, case: Case) -> Iterator[Problem]:
    """Find a file of data that is not there, or does not hold what the input needs."""
    path = located(case.model.folder, WARMUP, tensor.input_data_file)
    missing = unreadable(place, path, f"Put the file into the folder {WARMUP} of the model")
    yield from missing
    if missing:
        return
    size = Path(path).stat().st_size
    if enum_name(tensor, "data_type") == "TYPE_STRING":
        if _is_input(name, case):
            yield from _strings(place, name, tensor, path)
        return
    expected = bytes_of(enum_name(tensor, "data_type"), tensor.dims) % (1 << 64)  # Triton takes it as unsigned
    if size < expected:
        words = f"warmup setting expects {expected} bytes, but the data provided from {tensor.input_data_file}"
        write = f"Write {expected} bytes into {WARMUP}/{tensor.input_data_file}, or correct the dims"
        yield refused(place, f"{words}only has {size} bytes", write)


def _strings(place: Place, name: str, tensor: Any, path: str) -> Iterator[Problem]:
    """Find a file of strings that does not hold as many as the input has."""
    size, at, found = Path(path).stat().st_size, 0, 0
    expected = elements_of(tensor.dims)
    with Path(path).open("rb") as file:
        while at < size and found <= expected:
            file.seek(at)
            length = file.read(4)
            if len(length) < 4:
                words = f"incomplete string length indicator for inference input '{name}'"
                yield refused(place, words, STRINGS)
                return
            at += 4 + int.from_bytes(length, "little")
            found += 1
    if found != expected:
        words = f"expected {expected} string elements for inference input '{name}'"
        yield refused(place, f"{words}, got {found}", STRINGS)


def fitting(case: Case) -> Iterator[Problem]:
    """Find warm-up requests that the model can't take: their inputs are not its own."""
    config = case.config.message
    if not is_complete(case.model, config):
        return
    inputs = {tensor.name: tensor for tensor in reversed(config.input)}
    for number in _asked(case):
        given = config.model_warmup[number].inputs
        place = case.config.place("model_warmup", number)
        own = [name for name in given if name in inputs]
        required = [tensor.name for tensor in config.input if not tensor.optional]
        if len(own) < len(required):
            missing = ",".join(f"'{name}'" for name in required if name not in given)
            words = f"expected {len(config.input)} inputs but got {len(own)} inputs for model '{case.model.name}'"
            yield refused(place, f"{words} … missing required input(s) [{missing}]", FIT.write)
        for name in own:
            yield from _unlike(
                case.config.place("model_warmup", number, "inputs", Key(name)), case, given[name], inputs[name]
            )


def _unlike(place: Place, case: Case, given: Any, asked: Any) -> Iterator[Problem]:
    """Find an input of a warm-up request that has not the type or the shape of the model's."""
    name, model = asked.name, case.model.name
    if given.data_type != asked.data_type:
        words = f"inference input '{name}' data-type is '{_protocol(given)}', but model '{model}' expects"
        yield refused(place, f"{words} '{_protocol(asked)}'", f"Write data_type: {enum_name(asked, 'data_type')}")
    if elements_of(given.dims) < -1:
        words = f"input byte size mismatch for input '{name}' for model '{model}'"
        yield refused(place, words, "Write sizes of at least 1")
    batch = [-1] if case.config.message.max_batch_size else []
    # Of a tensor with a shape, the batch is no dimension of its own.
    dims = [*(1 for _ in batch if asked.is_shape_tensor), *given.dims]
    fits = len(dims) == len(asked.dims)
    if not fits or any(size not in (-1, own) for own, size in zip(dims, asked.dims, strict=True)):
        words = (
            f"unexpected shape for input '{name}' for model '{model}'. Expected {_shape([*batch, *asked.dims])}, got"
        )
        write = "Write the dims that config.pbtxt has for the input, with a size for each -1; the batch is not written"
        yield refused(place, f"{words} {_shape([*(1 for _ in batch), *given.dims])}", write)


def sizes(case: Case) -> Iterator[Problem]:
    """Find inputs of warm-up requests whose bytes can't be counted."""
    for place, name, tensor in _inputs(case):
        data_type = enum_name(tensor, "data_type")
        if words := uncounted(name, data_type, tensor.dims):
            yield refused(place, words, "Write sizes that requests have")
        elif data_type not in BYTES and data_type != "TYPE_STRING":
            words = f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
            yield refused(place, words, "Write the data_type of the input")


def no_batch(case: Case) -> Iterator[Problem]:
    """Find warm-up requests without a batch size, which are never sent."""
    for number, request in enumerate(case.config.message.model_warmup):
        if request.batch_size == 0:
            says = "Triton loads the model, and skips this warm-up: its batch_size is 0"
            yield Problem(case.config.place("model_warmup", number), says, NO_BATCH.write)


def large_batch(case: Case) -> Iterator[Problem]:
    """Find warm-up batches that are larger than the model takes."""
    config = case.config.message
    most = max(config.max_batch_size, 1)
    if config.backend and config.backend not in LIMITED:
        return
    if config.max_batch_size == 0 and not is_complete(case.model, config):
        return  # the backend may fill it in
    for number, request in enumerate(config.model_warmup):
        if request.batch_size > most:
            words = f"failed to run warmup sample '{request.name}': batch size {request.batch_size} for "
            place = case.config.place("model_warmup", number, "batch_size")
            limit = f"'{case.model.name}_0', max allowed is {config.max_batch_size}"
            yield refused(place, words + limit, f"Write batch_size: {most}")


def too_many(case: Case) -> Iterator[Problem]:
    """Find batches of warm-up requests that no memory holds."""
    for number in _asked(case):
        size = case.config.message.model_warmup[number].batch_size
        if size * REQUEST_BYTES > (case.host.memory or MUCH_MEMORY):
            says = f"The server dies: it makes {size} requests at once, which no memory holds"
            yield Problem(case.config.place("model_warmup", number, "batch_size"), says, TOO_MANY.write)


def long(case: Case) -> Iterator[Problem]:
    """Find warm-up that hardly ends."""
    for number in _asked(case):
        request = case.config.message.model_warmup[number]
        if (count := request.batch_size * request.count) > MANY:
            says = f"Triton serves the model only when it has answered {count} requests"
            yield Problem(case.config.place("model_warmup", number, "count"), says, LONG.write)


def identifier(case: Case) -> Iterator[Problem]:
    """Find warm-up of a model whose correlation IDs are strings: its requests have a number."""
    controls = [each for tensor in case.config.message.sequence_batching.control_input for each in tensor.control]
    ids = [control for control in controls if enum_name(control, "kind") == "CONTROL_SEQUENCE_CORRID"]
    if not any(enum_name(control, "data_type") == "TYPE_STRING" for control in ids):
        return
    for number in _asked(case):
        words = "sequence batching control … data-type is 'UINT64', but model"
        place = case.config.place("model_warmup", number)
        yield refused(place, f"{words} '{case.model.name}' expects 'BYTES'", IDENTIFIER.write)


def _asked(case: Case) -> Iterator[int]:
    """Yield the numbers of the warm-up requests that are sent."""
    config = case.config.message
    groups = config.instance_group
    if is_ensemble(config) or (groups and all(group.passive for group in groups)):
        return
    yield from (number for number, request in enumerate(config.model_warmup) if request.batch_size)


def _inputs(case: Case) -> Iterator[tuple[Place, str, Any]]:
    """Yield each input of each warm-up request that is sent, with its place."""
    for number in _asked(case):
        for name, tensor in case.config.message.model_warmup[number].inputs.items():
            yield case.config.place("model_warmup", number, "inputs", Key(name)), name, tensor


def _is_input(name: str, case: Case) -> bool:
    """Whether a name is that of an input of the model; others are taken for controls, and not looked at."""
    return any(tensor.name == name for tensor in case.config.message.input)


def _protocol(tensor: Any) -> str:
    """Return the name of a type as requests have it."""
    name = enum_name(tensor, "data_type").removeprefix("TYPE_")
    return {"STRING": "BYTES", "INVALID": "<invalid>"}.get(name, name)


def _shape(dims: list[int]) -> str:
    return f"[{','.join(str(size) for size in dims)}]"


DATA = Rule(
    code="WARM",
    severity="error",
    title="the data of a warm-up request are not given, or not there",
    triton='Triton refuses the model: "warmup setting expects all variable-size dimensions are specified", "… to have '
    f'input_data_type set", or "failed to open text file" if the file is not in the folder {WARMUP} of the model.',
    write="Write zero_data: true, random_data: true or input_data_file",
    check=data,
    seen="2.51",
)
STRINGS = "Write each string as its length, in 4 bytes, the lowest first, and its bytes"
FIT = Rule(
    code="WARM-INPUT",
    severity="error",
    title="a warm-up request has not the inputs of the model",
    triton='Triton refuses the model: "expected … inputs but got …", "data-type is …" or "unexpected shape for input".',
    write="Write each input of the model that is not optional",
    check=fitting,
    seen="2.51",
)
NO_BATCH = Rule(
    code="WARM0",
    severity="warning",
    title="a warm-up request has no batch size",
    triton="Triton loads the model, and never sends the request.",
    write="Write batch_size: 1, also for a model without batches",
    check=no_batch,
    seen="2.51",
)
LARGE_BATCH = Rule(
    code="WARM-BS",
    severity="error",
    title="a warm-up batch is larger than the model takes",
    triton='Triton refuses the model: "failed to run warmup sample …: batch size …, max allowed is …". The server was '
    "seen to die of it. Who decides is the backend: Triton's own all do.",
    write="Write a batch_size of at most max_batch_size, or of 1 for a model without batches",
    check=large_batch,
    decided_by="python",
    seen="2.51",
)
SIZES = Rule(
    code="WARM-SIZE",
    severity="error",
    title="the bytes of a warm-up input can't be counted",
    triton='Triton refuses the model: "tensor \'…\' contains an invalid dimension", or "byte size … exceeds '
    'maximum size".',
    write="Write data_type and dims of the input, with sizes of at least 0",
    check=sizes,
    source="core: src/backend_model_instance.cc, src/model_config_utils.h",
    since=COUNTED_SINCE,
)
IDENTIFIER = Rule(
    code="WARM-CORRID",
    severity="error",
    title="warm-up of a model whose correlation IDs are strings",
    triton="Triton refuses the model: a warm-up request has the correlation ID 0, a number.",
    write="Leave model_warmup out, or write data_type: TYPE_UINT64 for CONTROL_SEQUENCE_CORRID",
    check=identifier,
    source="core: src/infer_request.cc, InferenceRequest::ValidateCorrelationId",
    since="25.02",
)
TOO_MANY = Rule(
    code="WARM-MANY",
    severity="error",
    title="a warm-up batch that no memory holds",
    triton="The server dies while it loads the model: it makes all requests of the batch beforehand.",
    write="Write a batch_size of at most max_batch_size",
    check=too_many,
    seen="2.51",
)
LONG = Rule(
    code="WARM-LONG",
    severity="warning",
    title="more than a million warm-up requests",
    triton="Triton sends count batches of batch_size requests before the model is ready; until then the server is not.",
    write="Write a count of a few",
    check=long,
    seen="2.51",
)
RULES = (DATA, FIT, SIZES, NO_BATCH, LARGE_BATCH, IDENTIFIER, TOO_MANY, LONG)
