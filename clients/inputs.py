"""Checking inputs against a model, before anything is sent.

Values are cast only if they stay the same: integers that are in range, integers that the float type represents exactly,
booleans, and floats to a different float type, which rounds them as usual but must not make one infinite. A float is
never cast to an integer, a number never to a string.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modelrepo.clients.errors import InputError, nearest
from modelrepo.clients.kinds import as_array
from modelrepo.clients.models import Array, Model, Tensor

# Of an input of a kind, also files: see ``kinds``.
Value = ArrayLike | Path | Sequence[Path | bytes]
Inputs = Mapping[str, Value] | Sequence[Value] | Value


def check_inputs(model: Model, inputs: Inputs) -> dict[str, Array]:
    """Return the inputs as arrays of the model's types, by name; InputError if they do not fit.

    ``inputs`` is a mapping by name, a list or tuple with one entry an input, or for a single input the array itself.
    An input of a kind takes what clients have, such as the Path of a picture: see ``kinds``.
    """
    named = by_name(model, inputs)
    arrays = {
        tensor.name: _shaped(to_array(as_array(named[tensor.name], tensor, model), tensor), tensor, model)
        for tensor in model.inputs
        if tensor.name in named
    }
    batches = {name: array.shape[0] for name, array in arrays.items()} if model.max_batch_size else {}
    if len(set(batches.values())) > 1:
        sizes = ", ".join(f"{name} {size}" for name, size in batches.items())
        raise InputError(f"the inputs of {model.name} have different batch sizes: {sizes}")
    return arrays


def by_name(model: Model, inputs: Inputs) -> dict[str, Any]:
    """Return the given values by input name; InputError for a wrong name or a wrong number of inputs."""
    names = [tensor.name for tensor in model.inputs]
    required = [tensor.name for tensor in model.inputs if not tensor.optional]
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    else:
        positional: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if not len(required) <= len(positional) <= len(names):
            takes = "input" if len(names) == 1 else "inputs"
            hint = "A list is one entry an input: give a nested list as [list], or as an array" if positional else ""
            raise InputError(f"{len(positional)} given, {model.name} takes {len(names)} {takes}: "
                             f"{', '.join(map(describe, model.inputs))}", hint)  # fmt: skip
        given = dict(zip(names, positional, strict=False))
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(f"{model.name} has no input {unknown[0]!r}", nearest(str(unknown[0]), names))
    missing = [describe(tensor) for tensor in model.inputs if tensor.name in required and tensor.name not in given]
    if missing:
        raise InputError(f"{model.name} also takes {', '.join(missing)}", "Give every input")
    return given


def check_outputs(model: Model, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the requested output names, None for all outputs; InputError for an unknown name."""
    if names is None:
        return None
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if model.output(name) is None]
    if unknown or not names:
        known = [tensor.name for tensor in model.outputs]
        raise InputError(
            f"{model.name} has no output {unknown[0]!r}" if unknown else f"no output of {model.name} is requested",
            nearest(unknown[0] if unknown else "", known),
        )
    return names


def describe(tensor: Tensor) -> str:
    """Return name, datatype and dims of a tensor for messages: ``input FP32[-1, 3, 224, 224]``."""
    return f"{tensor.name} {tensor.datatype}{list(tensor.dims)}"


def numpy_dtype(datatype: str) -> "np.dtype[Any]":
    """Return numpy's dtype of a Triton datatype: object for BYTES, ml_dtypes' bfloat16 for BF16."""
    from tritonclient.utils import triton_to_np_dtype

    found = triton_to_np_dtype(datatype)
    if found is None:
        raise InputError(f"this release of tritonclient does not know the datatype {datatype}", "Upgrade it")
    dtype: np.dtype[Any] = np.dtype(found)
    return dtype


def to_array(value: Any, tensor: Tensor) -> Array:
    """Return ``value`` as an array of the tensor's datatype, in any shape; InputError if values would change."""
    array = plain_array(value, describe(tensor))
    if tensor.datatype == "BYTES":
        return _to_bytes(array, tensor)
    wanted = numpy_dtype(tensor.datatype)
    if array.dtype == wanted or array.size == 0:
        return array.astype(wanted, copy=False)
    problem = _cast_problem(array, wanted)
    if problem:
        raise InputError(f"the input {describe(tensor)} was given {problem}")
    return array.astype(wanted)


def plain_array(value: Any, name: str) -> Array:
    """Return a value as an array, with texts as objects: numpy's own strings lose NULs at their end.

    Raises InputError, with the ``name`` of the input, for rows of different lengths.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"the input {name} was given rows of different lengths") from error
    return np.asarray(value, object) if array.dtype.kind in "US" and not isinstance(value, np.ndarray) else array


def _cast_problem(array: Array, wanted: "np.dtype[Any]") -> str | None:
    """Return why values can't be cast without a change, or None."""
    integers = array.dtype.kind in "iub"
    if not integers and not _is_float(array.dtype):
        return f"{_kind(array)}, which are not real numbers"
    if _is_float(wanted):
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        if integers:
            changed = cast.astype("longdouble") != array.astype("longdouble")
            return _first(array, changed, f"which {wanted.name} can't represent exactly")
        return _first(array, np.isinf(cast) & ~np.isinf(array), f"which is too large for {wanted.name}")
    if not integers:
        return f"{array.dtype.name} values, and floats are not cast to integers: use np.rint(…).astype({wanted.name!r})"
    low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
    wide = array.astype(object) if array.dtype == np.uint64 else array.astype(np.int64)
    return _first(array, np.asarray((wide < low) | (wide > high), bool), f"outside {low} to {high}")


def _is_float(dtype: "np.dtype[Any]") -> bool:
    return dtype.kind == "f" or dtype.name in ("bfloat16",)


def _first(array: Array, wrong: Array, reason: str) -> str | None:
    if not wrong.any():
        return None
    index = tuple(int(position) for position in np.argwhere(wrong)[0]) if array.ndim else ()
    return f"{array[index]} at {list(index)}, {reason}"


def _kind(array: Array) -> str:
    if array.dtype.kind == "O" and array.size:
        kind = type(array.flat[0]).__name__
        return {"str": "strings", "bytes": "bytes"}.get(kind, f"values of type {kind}")
    return {"U": "strings", "S": "bytes"}.get(array.dtype.kind, f"{array.dtype} values")


def _to_bytes(array: Array, tensor: Tensor) -> Array:
    """Return an array of bytes objects, with strings encoded as UTF-8."""
    if array.dtype.kind not in "USO" and array.size:
        raise InputError(f"the input {describe(tensor)} was given {_kind(array)}, it takes strings or bytes")
    encoded = np.empty(array.shape, object)
    for position, item in enumerate(array.flat):
        if not isinstance(item, (str, bytes)):
            raise InputError(f"the input {describe(tensor)} was given {item!r}, it takes strings or bytes")
        try:
            encoded.flat[position] = item.encode() if isinstance(item, str) else bytes(item)
        except UnicodeEncodeError as error:
            raise InputError(f"the input {describe(tensor)} was given {item!r}, which is not valid text") from error
    return encoded


def _shaped(array: Array, tensor: Tensor, model: Model) -> Array:
    """Return the array, a scalar with the tensor's dims of 1; InputError unless it has the tensor's shape."""
    dims = tensor.dims
    if array.ndim == 0 and all(dim in (1, -1) for dim in dims):
        array = array.reshape((1,) * len(dims))
    fits = array.ndim == len(dims) and all(dim in (-1, size) for dim, size in zip(dims, array.shape, strict=True))
    if not fits:
        raise InputError(f"the input {describe(tensor)} was given shape {list(array.shape)}", _hint(array, dims, model))
    if model.max_batch_size and not 1 <= array.shape[0] <= model.max_batch_size:
        raise InputError(
            f"the input {describe(tensor)} was given a batch of {array.shape[0]}, {model.name} takes 1 to "
            f"{model.max_batch_size}",
            "Split it with infer_many" if array.shape[0] else "",
        )
    return array


def _hint(array: Array, dims: tuple[int, ...], model: Model) -> str:
    expected = [str(dim) if dim != -1 else "any" for dim in dims]
    if model.max_batch_size:
        expected[:1] = [f"batch of 1 to {model.max_batch_size}"]
        if array.ndim == len(dims) - 1:
            return f"Expected [{', '.join(expected)}]: for one sample add the batch axis, array[np.newaxis]"
    return f"Expected [{', '.join(expected)}]"
