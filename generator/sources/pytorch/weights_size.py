"""The size of a PyTorch model's weights, in bytes."""

from collections.abc import Callable
from typing import Any


def of_module(module: Any) -> int:
    """Return the bytes of the parameters and buffers of a ``torch.nn.Module``, including those on the meta device."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def of_built(build: Callable[[], Any]) -> int:
    """Return the bytes of the parameters and buffers of ``build()``, without making them."""
    import torch

    with torch.device("meta"):
        return of_module(build())
