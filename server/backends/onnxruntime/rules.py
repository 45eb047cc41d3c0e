"""The rules of the C++ onnxruntime backend for a model's configuration, applied here too.

Source: ``ModelInstanceState::ValidateInputs``, ``ValidateOutputs`` and ``ModelState::AutoCompleteConfig`` of
triton-inference-server/onnxruntime_backend, and ``CompareDimsSupported`` of its utilities. A configuration is the JSON
object that Triton passes to a backend.
"""

from collections.abc import Mapping, Sequence
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
# The fields with a sequence control's values, and the type of those values.
CONTROL_TYPES = {
    "int32_false_true": "TYPE_INT32",
    "fp32_false_true": "TYPE_FP32",
    "bool_false_true": "TYPE_BOOL",
}
# The largest batch that the C++ backend fills in if a configuration has none (its default-max-batch-size).
DEFAULT_MAX_BATCH_SIZE = 4


class Refused(Exception):
    """The model can't be served with this configuration."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of the ONNX model: Triton's data type, or ONNX Runtime's name of one that Triton lacks.

    ``dims`` has -1 for a dimension of any size, and is empty for a scalar.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """The inputs and outputs of an ONNX model; ``overridable`` are initializers that are optional inputs too."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    overridable: tuple[Tensor, ...] = ()


def refuse_unsupported(config: Mapping[str, Any]) -> None:
    """Raise Refused for a feature that the C++ backend has and this one lacks."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for kind, listed in accelerators.items():
        for accelerator in listed:
            raise Refused(f"{kind} '{accelerator['name']}' is not available in the local server")
    for group in config.get("instance_group", ()):
        if group.get("kind") == "KIND_GPU":
            raise Refused("KIND_GPU instances are not available in the local server")
    for tensor in config.get("input", ()):
        if tensor.get("allow_ragged_batch"):
            raise Refused(f"ragged batching of input '{tensor['name']}' is not available in the local server")
    for field in ("batch_input", "batch_output"):
        if config.get(field):
            raise Refused(f"{field} is not available in the local server")
    if config.get("model_operations", {}).get("op_library_filename"):
        raise Refused("libraries of custom operators (model_operations) are not available in the local server")
    if config.get("sequence_batching", {}).get("state"):
        raise Refused("implicit state is not available in the local server")
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise Refused("the onnxruntime backend answers every request once: it can't be decoupled")
    for tensor in (*config.get("input", ()), *config.get("output", ())):
        if tensor["data_type"] == "TYPE_BF16":
            raise Refused(f"BF16 tensors such as '{tensor['name']}' are not available in the local server")


def check(config: Mapping[str, Any], model: Model) -> None:
    """Raise Refused if the C++ backend would not load the model with this configuration."""
    batched = int(config["max_batch_size"]) > 0
    for tensor in (*model.inputs, *model.outputs):
        if not tensor.data_type.startswith("TYPE_"):
            raise Refused(f"'{tensor.name}' is of type {tensor.data_type}, which Triton does not have")
    _check_count(config, model)
    inputs = {tensor.name: tensor for tensor in (*model.overridable, *model.inputs)}
    for written in config["input"]:
        if written.get("optional") and batched:
            raise Refused(f"optional input '{written['name']}' is not supported for models that support batching")
        _check_tensor("input", written, inputs, batched, exact=False)
    outputs = {tensor.name: tensor for tensor in model.outputs}
    for written in config["output"]:
        _check_tensor("output", written, outputs, batched, exact=True)
    own = {tensor.name: tensor for tensor in model.inputs}
    for name, data_type in controls(config):
        _check_control(name, data_type, own, batched)


def controls(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the name and the data type of each control input, which the sequence batcher fills."""
    written = config.get("sequence_batching", {}).get("control_input", ())
    return tuple((each["name"], _control_type(control)) for each in written for control in each.get("control", ()))


def _control_type(control: Mapping[str, Any]) -> str:
    """Return the type of a control: that of its two values, or for a correlation ID the one in ``data_type``."""
    for field, data_type in CONTROL_TYPES.items():
        if control.get(field):
            return data_type
    return str(control.get("data_type", ""))


def shape_of(written: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the dims of a configuration's tensor in the model: those of its reshape, if it has one."""
    dims = written["reshape"].get("shape", ()) if "reshape" in written else written["dims"]
    return tuple(int(dim) for dim in dims)


def _check_count(config: Mapping[str, Any], model: Model) -> None:
    required = [written for written in config["input"] if not written.get("optional")]
    expected = len(required) + len(controls(config))
    if expected != len(model.inputs):
        raise Refused(f"configuration expects {expected} inputs, model provides {len(model.inputs)}")


def _check_tensor(
    kind: str, written: Mapping[str, Any], known: Mapping[str, Tensor], batched: bool, *, exact: bool
) -> None:
    name, data_type = written["name"], written["data_type"]
    if name not in known:
        raise Refused(f"unexpected inference {kind} '{name}', allowed {kind}s are: {', '.join(sorted(known))}")
    tensor = known[name]
    if data_type != tensor.data_type:
        raise Refused(
            f"configuration expects datatype {data_type} for {kind} '{name}', model provides {tensor.data_type}"
        )
    dims = shape_of(written)
    if not tensor.dims:
        if any(dim != 1 for dim in dims):
            raise Refused(f"scalar tensor '{name}' should have dims of 1 in the configuration, not {list(dims)}")
        return
    _check_dims(name, tensor.dims, dims, batched, exact=exact)


def _check_dims(name: str, model: Sequence[int], written: Sequence[int], batched: bool, *, exact: bool) -> None:
    if batched and model[0] != -1:
        raise Refused(
            f"tensor '{name}': for the model to support batching the first dimension must be -1; but the model has "
            f"shape {list(model)}"
        )
    full = (-1, *written) if batched else tuple(written)
    fits = len(full) == len(model) and all(
        own == other or (own == -1 and not exact) for own, other in zip(model, full, strict=True)
    )
    if not fits:
        raise Refused(
            f"tensor '{name}': the model expects {len(model)} dimensions (shape {list(model)}) but the configuration "
            f"specifies {len(full)} (shape {list(full)}{', with the batch dimension' if batched else ''})"
        )


def _check_control(name: str, data_type: str, inputs: Mapping[str, Tensor], batched: bool) -> None:
    if name not in inputs:
        raise Refused(f"configuration specified sequence control '{name}', but model does not provide that input")
    dims = inputs[name].dims[1:] if batched else inputs[name].dims
    if dims != (1,):
        raise Refused(f"sequence control '{name}' in model has dims {list(dims)} but dims [1] is expected")
    if inputs[name].data_type != data_type:
        raise Refused(
            f"sequence control '{name}': the model expects data-type {inputs[name].data_type} but the configuration "
            f"specifies {data_type}"
        )


def completion(config: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Return the fields that the C++ backend fills in if a configuration lacks inputs or outputs, else none."""
    if config.get("input") and config.get("output"):
        return {}
    batching = all(tensor.dims[:1] == (-1,) for tensor in (*model.inputs, *model.outputs))
    largest = int(config.get("max_batch_size", 0))
    if largest and not batching:
        raise Refused("autofill failed: model does not support batching while non-zero max_batch_size is specified")
    filled: dict[str, Any] = {}
    if batching and not largest:
        largest = filled["max_batch_size"] = DEFAULT_MAX_BATCH_SIZE
    if largest > 1 and "dynamic_batching" not in config and "sequence_batching" not in config:
        filled["dynamic_batching"] = {}
    for field, tensors in (("input", model.inputs), ("output", model.outputs)):
        if not config.get(field):
            filled[field] = [_written(tensor, largest > 0) for tensor in tensors]
    return filled


def _written(tensor: Tensor, batched: bool) -> dict[str, Any]:
    dims = list(tensor.dims[1:] if batched else tensor.dims)
    written: dict[str, Any] = {"name": tensor.name, "data_type": tensor.data_type, "dims": dims or [1]}
    if not dims and batched:
        written["reshape"] = {"shape": []}
    return written
