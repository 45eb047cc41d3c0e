"""How many bytes the weights of a PyTorch model take."""

from collections.abc import Callable
from typing import Any


def of_module(module: Any) -> int:
    """Return the bytes of the parameters and buffers of a ``torch.nn.Module``, those of the meta device too."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def of_built(build: Callable[[], Any]) -> int:
    """Return the bytes that the PyTorch module which ``build`` makes has, without making its weights."""
    import torch

    with torch.device("meta"):
        return of_module(build())
