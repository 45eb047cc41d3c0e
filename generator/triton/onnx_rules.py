"""What the C++ onnxruntime backend requires of a configuration, and what it fills in.

Source: ``ModelInstanceState``, its ``ValidateInputs``, ``ValidateOutputs`` and functions for sequence controls, and
``ModelState::AutoCompleteConfig`` of onnxruntime_backend/src/onnxruntime.cc; ``CompareDimsSupported`` of its utilities;
and ``CheckAllowedModelInput`` of backend/src/backend_common.cc. A configuration is Triton's ModelConfig as JSON. The
local backend and the linter both decide with this module; it imports only Python's own modules, since the local backend
runs in a process of its own for each instance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Triton's name of a type by ONNX Runtime's; Triton has no other types.
DATA_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(bfloat16)": "TYPE_BF16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
# What the backend calls a type where a control is meant, and what it calls values that are not tensors.
CONTROL_NAMES = {
    "TYPE_FP16": "FLOAT16",
    "TYPE_BF16": "BFLOAT16",
    "TYPE_FP32": "FLOAT",
    "TYPE_FP64": "DOUBLE",
}
NOT_TENSORS = {
    "seq": "ONNX_TYPE_SEQUENCE",
    "map": "ONNX_TYPE_MAP",
    "sparse_tensor": "ONNX_TYPE_SPARSETENSOR",
    "sparse_tensor_type": "ONNX_TYPE_SPARSETENSOR",
}
# The fields with a sequence control's values, and the type of those values.
CONTROL_TYPES = {
    "int32_false_true": "TYPE_INT32",
    "fp32_false_true": "TYPE_FP32",
    "bool_false_true": "TYPE_BOOL",
}
# The largest batch that the backend fills in if a configuration has none (its default-max-batch-size).
DEFAULT_MAX_BATCH_SIZE = 4
# The first release whose backend has BF16 (onnxruntime_backend, pull request 335).
BF16_SINCE = "26.03"
# In ``Tensor.unsure``: the number of dimensions, too.
RANK = -1


class Refused(Exception):
    """The model can't be served with this configuration; ``code`` is the linter's rule, if it has one for this."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Tensor:
    """An input or output of the ONNX model: Triton's data type, or ONNX Runtime's name of one that Triton lacks.

    ``dims`` has -1 for a dimension of any size, and is empty for a scalar. ``unsure`` are the axes that only ONNX
    Runtime itself can tell; empty if it was asked.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]
    unsure: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Model:
    """The inputs and outputs of an ONNX model; ``overridable`` are initializers that are optional inputs too."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    overridable: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """A disagreement of a configuration with its model, for which the backend refuses it."""

    code: str  # of the linter's rule
    path: tuple[str | int, ...]  # of the field in the configuration
    reason: str  # as the backend says it
    sure: bool = True  # False: ONNX Runtime may know more of the model's dims, and accept it
    wanted: str = ""  # the field as it would fit, if that can be said


def mismatches(config: Mapping[str, Any], model: Model, *, bf16: bool = True) -> Iterator[Mismatch]:
    """Yield what the backend would refuse, first what it finds first. ``bf16``: whether its release has that type."""
    batched = int(config.get("max_batch_size", 0)) > 0
    yield from _not_tensors(model.inputs)
    own = {tensor.name: tensor for tensor in model.inputs}
    for number, name, data_type in _controls(config):
        yield from _control(("sequence_batching", "control_input", number), name, data_type, own, batched)
    expected = _expected_inputs(config)
    if expected != len(model.inputs):
        reason = f"configuration expects {expected} inputs, model provides {len(model.inputs)}"
        yield Mismatch("ORT-CNT", ("input",), reason)
    known = {tensor.name: tensor for tensor in (*model.overridable, *model.inputs)}
    for number, written in enumerate(config.get("input", ())):
        yield from _input(("input", number), written, known, batched, bf16)
    yield from _not_tensors(model.outputs)
    outputs = {tensor.name: tensor for tensor in model.outputs}
    scattered = {name for each in config.get("batch_output", ()) for name in each.get("target_name", ())}
    for number, written in enumerate(config.get("output", ())):
        path = ("output", number)
        yield from _named_and_typed("output", path, written, outputs, bf16)
        tensor = outputs.get(written.get("name", ""))
        if tensor and tensor.name not in scattered:
            yield from _dims(path, tensor, written, batched, exact=True)


def controls(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the name and the data type of each control input, which the sequence batcher fills."""
    return tuple((name, data_type) for _, name, data_type in _controls(config))


def shape_of(written: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the dims of a configuration's tensor in the model: those of its reshape, if it has one."""
    dims = written["reshape"].get("shape", ()) if "reshape" in written else written.get("dims", ())
    return tuple(int(dim) for dim in dims)


def _controls(config: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    written = config.get("sequence_batching", {}).get("control_input", ())
    for number, each in enumerate(written):
        for control in each.get("control", ()):
            yield number, each.get("name", ""), _control_type(control)


def _control_type(control: Mapping[str, Any]) -> str:
    """Return the type of a control: that of its two values, or for a correlation ID the one in ``data_type``."""
    for field, data_type in CONTROL_TYPES.items():
        if control.get(field):
            return data_type
    return str(control.get("data_type", ""))


def _expected_inputs(config: Mapping[str, Any]) -> int:
    """Return how many inputs a configuration fills in each request: its own, the batcher's, and states."""
    required = [written for written in config.get("input", ()) if not written.get("optional")]
    states = config.get("sequence_batching", {}).get("state", ())
    return len(required) + len(config.get("batch_input", ())) + len(controls(config)) + len(states)


def _not_tensors(tensors: Sequence[Tensor]) -> Iterator[Mismatch]:
    for tensor in tensors:
        if not tensor.data_type.startswith(("TYPE_", "tensor(")):
            kind = NOT_TENSORS.get(tensor.data_type.partition("(")[0], "ONNX_TYPE_UNKNOWN")
            reason = f"Unsupported ONNX Type '{kind}' for I/O '{tensor.name}', expected 'ONNX_TYPE_TENSOR'."
            yield Mismatch("ORT-SEQ", (), reason)


def _input(
    path: tuple[str | int, ...], written: Mapping[str, Any], known: Mapping[str, Tensor], batched: bool, bf16: bool
) -> Iterator[Mismatch]:
    name = written.get("name", "")
    optional, ragged = written.get("optional"), written.get("allow_ragged_batch")
    if optional and batched:
        reason = f"optional input '{name}' is not supported for models that support batching"
        yield Mismatch("ORT-OPT", (*path, "optional"), reason)
    yield from _named_and_typed("input", path, written, known, bf16)
    expects = "configuration expects model provides input with shape [-1]"
    if optional and ragged:
        reason = f"{expects} for ragged input '{name}', which is not supported for optional input"
        yield Mismatch("ORT-RAG", (*path, "allow_ragged_batch"), reason)
    elif ragged and name in known:
        if known[name].dims != (-1,):
            reason = f"{expects}  for ragged input '{name}', model provides {text_of(known[name].dims)}"
            yield Mismatch("ORT-RAG", (*path, "allow_ragged_batch"), reason)
    elif name in known:
        yield from _dims(path, known[name], written, batched, exact=False)


def _named_and_typed(
    kind: str, path: tuple[str | int, ...], written: Mapping[str, Any], known: Mapping[str, Tensor], bf16: bool
) -> Iterator[Mismatch]:
    name, data_type = written.get("name", ""), written.get("data_type", "TYPE_INVALID")
    if name not in known:
        reason = f"unexpected inference {kind} '{name}', allowed {kind}s are: {', '.join(sorted(known))}"
        yield Mismatch("ORT-NAME", (*path, "name"), reason)
    if data_type == "TYPE_BF16" and not bf16:
        yield Mismatch("ORT-BF16", (*path, "data_type"), f"unsupported datatype {data_type} for {kind} '{name}'")
    elif name in known and data_type != known[name].data_type:
        has = known[name].data_type
        reason = f"configuration expects datatype {data_type} for {kind} '{name}', model provides {_provided(has)}"
        wanted = f"data_type: {has}" if has.startswith("TYPE_") else ""
        yield Mismatch("ORT-TYPE", (*path, "data_type"), reason, wanted=wanted)


def _provided(data_type: str) -> str:
    """Return a type of the model as the backend calls it, whose strings are bytes and which knows no others."""
    return (
        "TYPE_BYTES" if data_type == "TYPE_STRING" else data_type if data_type.startswith("TYPE_") else "TYPE_<invalid>"
    )


def _dims(
    path: tuple[str | int, ...], tensor: Tensor, written: Mapping[str, Any], batched: bool, *, exact: bool
) -> Iterator[Mismatch]:
    dims, model = shape_of(written), tensor.dims
    place = (*path, "reshape", "shape") if "reshape" in written else (*path, "dims")
    if RANK in tensor.unsure:
        return
    if not model:
        if any(dim != 1 for dim in dims):
            reason = (
                f"scalar tensor '{tensor.name}', should only provide 1 in the model configuration when the model "
                f"doesn't support batching. Model configuration provided: {text_of(dims)}."
            )
            yield Mismatch("ORT-SCALAR", place, reason)
        return
    if batched and model[0] != -1:
        reason = (
            f"tensor '{tensor.name}': for the model to support batching the shape should have at least 1 dimension and "
            f"the first dimension must be -1; but shape expected by the model is {text_of(model)}"
        )
        yield Mismatch("ORT-BATCH", ("max_batch_size",), reason)
        return
    full = (-1, *dims) if batched else dims
    pairs = enumerate(zip(model, full, strict=False))
    differing = {axis for axis, (own, other) in pairs if own != other and (exact or own != -1)}
    if len(full) == len(model) and not differing:
        return
    sure = len(full) != len(model) or bool(differing - tensor.unsure)
    own = model[1:] if batched else model
    wanted = f"{place[-1]}: [ {', '.join(map(str, own))} ]" if own else "dims: [ 1 ] and reshape { shape: [ ] }"
    yield Mismatch("ORT-DIM", place, _shapes(tensor.name, model, full, batched), sure, wanted)


def _shapes(name: str, model: Sequence[int], full: Sequence[int], batched: bool) -> str:
    batch = (
        "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
        if batched
        else ""
    )
    return (
        f"tensor '{name}': the model expects {len(model)} dimensions (shape {text_of(model)}) but the model "
        f"configuration specifies {len(full)} dimensions ({batch}shape {text_of(full)})"
    )


def _control(
    path: tuple[str | int, ...], name: str, data_type: str, inputs: Mapping[str, Tensor], batched: bool
) -> Iterator[Mismatch]:
    if name not in inputs:
        reason = f"configuration specified sequence control '{name}', but model does not provide that input"
        yield Mismatch("ORT-CTRL", path, reason)
        return
    dims = inputs[name].dims[1:] if batched else inputs[name].dims
    if dims != (1,):
        reason = f"sequence control '{name}' in model has dims {text_of(dims)} but dims [1] is expected"
        yield Mismatch("ORT-CTRL", path, reason)
    if inputs[name].data_type != data_type:
        has = inputs[name].data_type
        known = CONTROL_NAMES.get(has, has.removeprefix("TYPE_"))
        reason = (
            f"sequence control '{name}', the model expects data-type {known} but the model configuration specifies "
            f"data-type {data_type}"
        )
        yield Mismatch("ORT-CTRL", path, reason)


def text_of(dims: Sequence[int]) -> str:
    """Return dims as Triton writes them."""
    return f"[{','.join(map(str, dims))}]"


def completion(config: Mapping[str, Any], model: Model, *, bf16: bool = True) -> dict[str, Any]:
    """Return the fields that the backend fills in if a configuration lacks inputs or outputs, else none.

    Refused if it can't. ``bf16``: whether its release has that type.
    """
    if (config.get("input") or config.get("batch_input")) and config.get("output"):
        return {}
    for mismatch in _not_tensors((*model.inputs, *model.outputs)):
        raise Refused(mismatch.reason, mismatch.code)
    batching = all(tensor.dims[:1] == (-1,) for tensor in (*model.inputs, *model.outputs))
    largest = int(config.get("max_batch_size", 0))
    if largest and not batching:
        raise Refused("autofill failed: model does not support batching while non-zero max_batch_size is specified")
    filled: dict[str, Any] = {}
    if batching and not largest:
        largest = filled["max_batch_size"] = DEFAULT_MAX_BATCH_SIZE
    if largest > 1 and "dynamic_batching" not in config and "sequence_batching" not in config:
        filled["dynamic_batching"] = {}
    present = {"input": config.get("input") or config.get("batch_input"), "output": config.get("output")}
    for field, tensors in (("input", model.inputs), ("output", model.outputs)):
        if not present[field]:
            filled[field] = [_written(tensor, largest > 0) for tensor in tensors]
            for tensor, written in zip(tensors, filled[field], strict=True):
                _accepted(field, tensor, written, bf16)
    return filled


def _accepted(field: str, tensor: Tensor, written: Mapping[str, Any], bf16: bool) -> None:
    """Raise Refused for a tensor that the core refuses when the backend hands it the completed configuration."""
    if not tensor.data_type.startswith("TYPE_") or (tensor.data_type == "TYPE_BF16" and not bf16):
        raise Refused(f"model {field} '{tensor.name}' must specify 'data_type'")
    if 0 in written["dims"]:
        says = "dimension must be integer >= 1, or -1 to indicate a variable-size dimension"
        raise Refused(f"model {field} '{tensor.name}' {says}")


def _written(tensor: Tensor, batched: bool) -> dict[str, Any]:
    dims = list(tensor.dims[1:] if batched else tensor.dims)
    written: dict[str, Any] = {"name": tensor.name, "data_type": tensor.data_type, "dims": dims or [1]}
    if not dims and batched:
        written["reshape"] = {"shape": []}
    return written
