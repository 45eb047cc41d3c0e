"""Where a model's Python reads values of tensors: ``if x.sum() > 0``, ``x.item()``, ``int(x)``, ``x.numpy()``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

# The functions that turn the values of tensors into something else than a tensor, by the objects that they belong to.
TENSOR_READS = (
    *("__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__array__", "__dlpack__"),
    *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose", "data_ptr", "storage", "untyped_storage"),
)
TORCH_READS = ("is_nonzero", "equal", "allclose")
# They make a tensor of a list of tensors, whose values they read.
BUILDERS = ("tensor", "as_tensor", "asarray")
# They make as many tensors as a tensor is long.
LENGTH_READS = ("__iter__", "unbind", "split", "chunk")


@dataclass(frozen=True)
class Read:
    """A moment in which Python learns something about the values of tensors."""

    tensors: tuple[Any, ...]
    # What they become: a bool, a number, a list, an array, …
    answer: Any
    # Whether only their length is read.
    of_length: bool = False


def _ignored(error: Exception) -> None:
    """Leave an error to those who catch it."""


def reading(
    notice: Callable[[Read], None], failed: Callable[[Exception], None] = _ignored
) -> AbstractContextManager[Any]:
    """Call ``notice`` for every read of tensors by Python, in this thread, within the context.

    ``failed`` is called for the error of a function of tensors, before it is raised.
    """
    from torch.overrides import TorchFunctionMode

    values, lists, lengths = _functions()

    class Reading(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            try:
                answer = function(*args, **(kwargs or {}))
            except Exception as error:
                failed(error)
                raise
            tensors: tuple[Any, ...] = ()
            if function in values or function in lengths:
                tensors = tuple(each for each in args[:2] if _is_tensor(each))
            elif function in lists and args and not _is_tensor(args[0]):
                tensors = tuple(_tensors(args[0]))
            if tensors:
                notice(Read(tensors, answer, of_length=function in lengths))
            return answer

    return Reading()


@cache
def _functions() -> tuple[frozenset[Any], frozenset[Any], frozenset[Any]]:
    """Return the functions that read values, lists of tensors, and lengths."""
    import torch

    values = {getattr(torch.Tensor, name) for name in TENSOR_READS} | {getattr(torch, name) for name in TORCH_READS}
    values.add(torch.Tensor.data.__get__)  # a tensor of its own, which no recording follows
    lists = {getattr(torch, name) for name in BUILDERS}
    lengths = {getattr(torch.Tensor, name) for name in LENGTH_READS}
    return frozenset(values), frozenset(lists), frozenset(lengths | {torch.unbind, torch.split, torch.chunk})


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors within nested lists."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif _is_tensor(value):
        yield value
