"""The tensors that Triton's sequence batcher fills in: controls and implicit state.

Sources: ``ModelSequenceBatching`` of Triton's model_config.proto; ``GetBooleanSequenceControlProperties`` and
``GetTypedSequenceControlProperties`` of core's model_config_utils.cc; ``ValidateBooleanSequenceControl``,
``ValidateTypedSequenceControl`` and the count of inputs in onnxruntime_backend's onnxruntime.cc.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from modelrepo.generator.configuration.decisions import Decisions, ServedTensor

# The fields with a control's values for false and true, and the type of those values.
VALUES = {"int32_false_true": "TYPE_INT32", "fp32_false_true": "TYPE_FP32", "bool_false_true": "TYPE_BOOL"}
CORRELATION_ID = "CONTROL_SEQUENCE_CORRID"


def filled_inputs(config: Any) -> set[str]:
    """Return the names of the inputs that the sequence batcher fills in: clients don't send them."""
    batcher = config.sequence_batching
    return {each.name for each in batcher.control_input} | {state.input_name for state in batcher.state}


def leave_to_batcher(config: Any, patch: Any | None) -> bool:
    """Remove from a configuration, in place, the tensors that the sequence batcher fills in; return whether any was.

    Triton counts a listed one twice. An output of a state stays listed if the ``patch`` lists it, for clients to read.
    With implicit state our warm-up goes too: a warm-up's request has no state, and Triton refuses the model.
    """
    wanted = {tensor.name for tensor in patch.output} if patch is not None else set()
    states = {state.output_name for state in config.sequence_batching.state} - wanted
    removed = False
    for tensors, names in ((config.input, filled_inputs(config)), (config.output, states)):
        kept = [tensor for tensor in tensors if tensor.name not in names]
        if len(kept) < len(tensors):
            removed = True
            del tensors[:]
            tensors.extend(kept)
    if config.sequence_batching.state and not (patch is not None and patch.model_warmup):
        config.ClearField("model_warmup")
    return removed


def listed(config: Any, decisions: Decisions) -> tuple[tuple[ServedTensor, ...], tuple[ServedTensor, ...]]:
    """Return the inputs and outputs that a configuration has to list: all that the sequence batcher doesn't fill in."""
    inputs = filled_inputs(config)
    states = {state.output_name for state in config.sequence_batching.state} - {each.name for each in config.output}
    return (
        tuple(tensor for tensor in decisions.inputs if tensor.name not in inputs),
        tuple(tensor for tensor in decisions.outputs if tensor.name not in states),
    )


def disagreement(config: Any, decisions: Decisions) -> str | None:
    """Return how a configuration's sequence batching contradicts the verified model; None if it does not.

    What Triton refuses whatever the model is, `check`'s rules know.
    """
    return next(filter(None, _problems(config, decisions)), None)


def _problems(config: Any, decisions: Decisions) -> Iterator[str | None]:
    if not config.HasField("sequence_batching"):
        return
    batcher = config.sequence_batching
    for each in batcher.control_input:
        yield _control_problem(each, decisions)
    for state in batcher.state:
        yield _state_problem("input", state.input_name, state, decisions.inputs)
        yield _state_problem("output", state.output_name, state, decisions.outputs)
    if not config.input:
        yield "leaves no input for clients to send: sequence_batching fills in every one"
    if not config.output:
        yield "leaves no output for clients to read: list one that is a state under output as well"
    if batcher.state and any(warmup.batch_size for warmup in config.model_warmup):
        yield "warms up, but Triton can't warm up a model with implicit state"


def _kind(control: Any) -> str:
    from tritonclient.grpc import model_config_pb2

    return str(model_config_pb2.ModelSequenceBatching.Control.Kind.Name(control.kind))


def _control_problem(written: Any, decisions: Decisions) -> str | None:
    tensor = _of_name(written.name, decisions.inputs)
    if tensor is None:
        return _unknown(f"fills {written.name!r} with a control", "input", decisions.inputs)
    if len(written.control) != 1:
        return f"has {len(written.control)} controls for {written.name!r}, but Triton takes one for each input"
    (control,) = written.control
    if tensor.optional:
        return f"fills {written.name!r} with a control, but the model has a value of its own for it"
    data_type = _type_of(control)
    if data_type is None or (data_type, tuple(tensor.dims)) == (tensor.data_type, (1,)):
        return None
    return (
        f"fills {written.name!r} with the control {_kind(control)}, {data_type}[1], but the model has "
        f"{tensor.data_type}{list(tensor.dims)}"
    )


def _type_of(control: Any) -> str | None:
    """Return the type of a control's tensor; None if what is written gives it none, which Triton refuses."""
    if _kind(control) == CORRELATION_ID:
        return _type_name(control.data_type) if control.data_type else None
    given = [data_type for field, data_type in VALUES.items() if getattr(control, field)]
    return given[0] if len(given) == 1 else None


def _state_problem(kind: str, name: str, state: Any, tensors: Sequence[ServedTensor]) -> str | None:
    tensor = _of_name(name, tensors)
    if tensor is None:
        return _unknown(f"has a state with the {kind} {name!r}", kind, tensors)
    dims, data_type = tuple(state.dims), _type_name(state.data_type)
    # A state of any size starts with 1, which an input of another size refuses.
    fits = len(dims) == len(tensor.dims) and all(
        size in (wanted, -1 if kind == "output" else wanted) or wanted == -1
        for size, wanted in zip(dims, tensor.dims, strict=True)
    )
    if data_type == tensor.data_type and fits:
        return None
    return (
        f"has a state of {data_type}{list(dims)} in {name!r}, but the model has {tensor.data_type}{list(tensor.dims)}"
    )


def _of_name(name: str, tensors: Sequence[ServedTensor]) -> ServedTensor | None:
    return next((tensor for tensor in tensors if tensor.name == name), None)


def _unknown(does: str, kind: str, tensors: Sequence[ServedTensor]) -> str:
    return f"{does}, but the model has the {kind}s {', '.join(tensor.name for tensor in tensors)}"


def _type_name(data_type: int) -> str:
    from tritonclient.grpc import model_config_pb2

    return str(model_config_pb2.DataType.Name(data_type))
