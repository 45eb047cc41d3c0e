"""What a pickle of torch holds, as data: classes are named, never imported, and nothing is called."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from modelrepo.generator.system.pickles import operations

# Marks the start of a group of values on the stack.
MARK: Final = object()
STORAGE: Final = "storage"
TAG: Final = "torch.jit._pickle restore_type_tag"
# Triton's name, and the bytes of an element, by the class of a storage.
STORAGES = {
    **{"FloatStorage": ("FP32", 4), "DoubleStorage": ("FP64", 8), "HalfStorage": ("FP16", 2)},
    **{"BFloat16Storage": ("BF16", 2), "BoolStorage": ("BOOL", 1), "ByteStorage": ("UINT8", 1)},
    **{"CharStorage": ("INT8", 1), "ShortStorage": ("INT16", 2), "IntStorage": ("INT32", 4)},
    **{"LongStorage": ("INT64", 8), "QInt8Storage": ("qint8", 1), "QUInt8Storage": ("quint8", 1)},
    **{"QInt32Storage": ("qint32", 4), "ComplexFloatStorage": ("complex64", 8)},
    "ComplexDoubleStorage": ("complex128", 16),
}


@dataclass(frozen=True)
class Named:
    """A class or function, by its module and name."""

    name: str


# torch._utils: a tensor's storage, the place of its first element in it, and its shape come first.
TENSORS: Final = (Named("torch._utils _rebuild_tensor_v2"), Named("torch._utils _rebuild_qtensor"))


class Pairs(list[Any]):
    """The keys and values of a dict, in turn."""


@dataclass
class Made:
    """What a class or function would make of its arguments; ``state`` is what it would be given afterwards."""

    by: Any
    arguments: Any
    state: Any = None


@dataclass(frozen=True)
class Stored:
    """A tensor: where its values lie, and how many there are in the whole storage."""

    key: str
    data_type: str
    item: int  # bytes of an element
    device: str
    elements: int
    offset: int
    shape: tuple[int, ...]


def read(content: bytes) -> Any:
    """Return the value of a pickle, with ``Made`` in place of objects; ValueError for one that can't be followed."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for name, argument in operations(content):
            if name == "STOP":
                return stack.pop()
            _step(name, argument, stack, memo)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged: {error}") from error
    raise ValueError("the pickle is truncated")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in ("PROTO", "FRAME"):
        return
    if name in ("BINPUT", "LONG_BINPUT", "PUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[argument])
    elif name in PUSHED:
        stack.append(PUSHED[name]())
    elif name in STEPS:
        STEPS[name](stack)
    elif name == "GLOBAL":
        stack.append(Named(argument))
    elif argument is not None:
        stack.append(argument)
    else:
        raise ValueError(f"the pickle has {name}, which torch does not write")


def _group(stack: list[Any]) -> list[Any]:
    """Take the values above the last mark, and the mark, from the stack."""
    values = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]


def _last(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise IndexError("values are missing")
    values = stack[-count:]
    del stack[-count:]
    return values


def _make(stack: list[Any]) -> None:
    stack.append(Made(*_last(stack, 2)))


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    if isinstance(stack[-1], Made):
        stack[-1].state = state


def _extend(stack: list[Any], values: list[Any]) -> None:
    if isinstance(stack[-1], list):
        stack[-1].extend(values)


PUSHED: dict[str, Callable[[], Any]] = {
    "MARK": lambda: MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": Pairs,
}
STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": lambda stack: stack.append(tuple(_group(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_last(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_last(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_last(stack, 3))),
    "LIST": lambda stack: stack.append(_group(stack)),
    "DICT": lambda stack: stack.append(Pairs(_group(stack))),
    "APPEND": lambda stack: _extend(stack, _last(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _group(stack)),
    "SETITEM": lambda stack: _extend(stack, _last(stack, 2)),
    "SETITEMS": lambda stack: _extend(stack, _group(stack)),
    "STACK_GLOBAL": lambda stack: stack.append(Named(" ".join(map(str, _last(stack, 2))))),
    "NEWOBJ": _make,
    "REDUCE": _make,
    "BUILD": _build,
    "BINPERSID": lambda stack: stack.append(Made(STORAGE, stack.pop())),
    "POP": list.pop,
}


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a dict; nothing of another value."""
    if isinstance(value, Pairs):
        yield from ((key, each) for key, each in zip(value[::2], value[1::2], strict=False) if isinstance(key, str))


def stored(value: Any) -> Stored | None:
    """Return the tensor that a value is; None for another value."""
    if not isinstance(value, Made) or value.by not in TENSORS:
        return None
    storage, offset, shape = value.arguments[:3] if len(value.arguments) > 2 else (None, 0, ())
    if not isinstance(storage, Made) or storage.by != STORAGE or not isinstance(shape, tuple):
        return None
    match storage.arguments:
        case (_, Named(kind), str(key), str(device), int(elements)) if all(map(_is_size, shape)):
            name = kind.rpartition(" ")[2]
            data_type, item = STORAGES.get(name, (name, 0))
            return Stored(key, data_type, item, device, elements, offset, shape) if isinstance(offset, int) else None
    return None


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def untagged(value: Any) -> Any:
    """Return a list or dict without the type that TorchScript writes beside it."""
    if isinstance(value, Made) and value.by == Named(TAG) and isinstance(value.arguments, tuple) and value.arguments:
        return value.arguments[0]
    return value


def plain(value: Any) -> str:
    """Return a number, text, or list of them as text; empty for anything else."""
    value = untagged(value)
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (list, tuple)) and not isinstance(value, Pairs):
        inner = [repr(each) for each in value if isinstance(each, (bool, int, float, str))]
        return f"[{', '.join(inner)}]" if len(inner) == len(value) else ""
    return ""
