"""Types and sizes of tensors, as Triton counts them."""

from collections.abc import Iterable
from math import prod
from typing import Any

# triton/common/model_config.cc; a string is at least its length, of four bytes.
BYTES = {
    "TYPE_BOOL": 1,
    "TYPE_UINT8": 1,
    "TYPE_UINT16": 2,
    "TYPE_UINT32": 4,
    "TYPE_UINT64": 8,
    "TYPE_INT8": 1,
    "TYPE_INT16": 2,
    "TYPE_INT32": 4,
    "TYPE_INT64": 8,
    "TYPE_FP16": 2,
    "TYPE_FP32": 4,
    "TYPE_FP64": 8,
    "TYPE_BF16": 2,
}


def enum_name(message: Any, field: str) -> str:
    """Return the name of the value of an enum; its number if it has no name, which a text may hold."""
    number = getattr(message, field)
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if value is None else str(value.name)


def elements_of(dims: Iterable[int]) -> int:
    """Return the number of elements; -1 if a dimension is variable, 0 without dimensions."""
    sizes = tuple(dims)
    return -1 if -1 in sizes else prod(sizes) if sizes else 0


def bytes_of(data_type: str, dims: Iterable[int]) -> int:
    """Return the bytes of a tensor; of strings, those of their lengths."""
    return elements_of(dims) * BYTES.get(data_type, 4)
