"""Types and shapes of tensors as Triton has them, and as messages write them."""

from collections.abc import Iterable
from typing import Any

from modelrepo.generator.specs.tensors import Array

# The size of a dimension of any size.
ANY = -1


def shape_words(dims: Iterable[int]) -> str:
    """Return a shape as messages write it."""
    return f"[{', '.join(map(str, dims))}]"


def triton_type(number: int) -> str:
    """Return the name of a data type of a ModelConfig, such as FP32."""
    from tritonclient.grpc import model_config_pb2

    return str(model_config_pb2.DataType.Name(number)).removeprefix("TYPE_")


def full_dims(tensor: Any, *, batched: bool) -> tuple[int, ...]:
    """Return the whole shape of a tensor of a ModelConfig, as clients send and receive it."""
    return (ANY, *tensor.dims) if batched else tuple(tensor.dims)


def dtype_name(array: Array) -> str:
    """Return Triton's name of an array's type, as messages write it."""
    from tritonclient.utils import np_to_triton_dtype

    return str(np_to_triton_dtype(array.dtype)).replace("BYTES", "STRING")
