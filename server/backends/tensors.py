"""Converting between the tensors of Triton's Python stub and numpy arrays.

The stub of Triton 2.51 was compiled for numpy 1. At the place of an array's item size numpy 2 keeps the type's flags,
which are 0. So the stub takes every item to have no bytes: ``as_numpy`` repeats the first item and ``Tensor(name,
array)`` sends nothing, both silently. Numbers are therefore passed by DLPack, which is not affected. Strings have no
DLPack type; for them the two places where the stub reads a size are repaired below.

The stub makes an array of its own with every tensor, in or out. ``prepare`` keeps it from copying the data for that,
and from calling Python unless a model takes strings.
"""

import ctypes
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

_capsules = ctypes.pythonapi
_capsules.PyCapsule_GetPointer.restype = ctypes.c_void_p
_capsules.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsules.PyCapsule_New.restype = ctypes.py_object
_capsules.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsules.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
# The name of a DLPack capsule that was consumed. The stub gives it a different one, which numpy does not know.
_CONSUMED = ctypes.c_char_p(b"used_dltensor")
_CPU = (1, 0)  # DLPack's kDLCPU, device 0

# numpy's C functions (numpy/__multiarray_api.h): as many as the stub knows, and the places of PyArray_NewCopy and
# PyArray_NewFromDescr.
_API_FUNCTIONS, _NEW_COPY, _NEW_FROM_DESCR = 300, 85, 94
_NewFromDescr = ctypes.PYFUNCTYPE(
    ctypes.c_void_p,
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t)),
    *(ctypes.POINTER(ctypes.c_ssize_t), ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
)
_kept: list[Any] = []


class _Producer:
    """A tensor for ``np.from_dlpack``, without the arguments that the stub's own method does not know."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        return self.tensor.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def to_array(tensor: Any, data_type: str) -> NDArray[Any]:
    """Return a request's tensor as an array: a view of Triton's memory, or objects of ``bytes`` for strings."""
    if data_type == "TYPE_STRING":
        return np.asarray(tensor.as_numpy())
    return np.from_dlpack(_Producer(tensor))


def from_array(name: str, array: NDArray[Any], own: Any = None) -> Any:
    """Return an array as a response's tensor; an array of objects holds strings or ``bytes``.

    ``own`` is the stub's class if Triton's module has another one: see ``plain.py``.
    """
    kind = own or pb_utils.Tensor
    if array.dtype == np.object_:
        tensor = kind(name, array)
        if _lent:
            _lent.pop().__setstate__(_state(flags=0))
        return tensor
    if not array.flags.c_contiguous or not array.flags.writeable:
        array = array.copy()  # DLPack has no read-only tensors
    capsule = _row_major(array).__dlpack__()
    tensor = kind.from_dlpack(name, capsule)
    _capsules.PyCapsule_SetName(capsule, _CONSUMED)
    return tensor


def _row_major(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array with the strides that the stub computes from its shape and requires.

    For a dimension of size 0 or 1 the stride is never used, and numpy's may differ.
    """
    strides: tuple[int, ...] = (array.itemsize,) if array.ndim else ()
    for size in array.shape[:0:-1]:
        strides = (strides[0] * size, *strides)
    return array if array.strides == strides else np.lib.stride_tricks.as_strided(array, strides=strides)


# The types of serialised strings whose flags hold a size until the stub has read it.
_lent: list[Any] = []


def _state(flags: int) -> tuple[Any, ...]:
    """Return the pickled state of a type of single bytes, as ``numpy.dtype.__reduce__`` gives it."""
    return (3, "|", None, None, None, 1, 1, flags)


def _serialize(array: NDArray[Any]) -> Any:
    """Return strings in the protocol's format, each after its length in four bytes, as an array of single bytes."""
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
    if not items:
        return np.empty(0, np.uint8)
    data = b"".join(part for item in items for part in (len(item).to_bytes(4, "little"), item))
    serialized = np.frombuffer(data, np.dtype((np.void, 1)))
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        dtype: Any = serialized.dtype
        dtype.__setstate__(_state(flags=1))  # read as an item size of 1
        _lent.append(dtype)
    return serialized


def _deserialize(encoded: NDArray[Any]) -> NDArray[Any]:
    data = encoded.tobytes()
    items, position = [], 0
    while position < len(data):
        end = position + 4 + int.from_bytes(data[position : position + 4], "little")
        items.append(data[position + 4 : end])
        position = end
    strings = np.empty(len(items), np.object_)
    strings[:] = items
    return strings


def prepare(strings: bool) -> None:
    """Give the stub numpy's functions with some replaced; it takes them with the first array that it makes.

    Its copy of an array is that array itself, a view of Triton's memory; only strings are read through it, and at once.
    If a model takes ``strings``, arrays are made with the right strides.
    """
    import numpy.core.multiarray as multiarray  # the stub takes the functions from here

    own = (ctypes.c_void_p * _API_FUNCTIONS).from_address(_capsules.PyCapsule_GetPointer(multiarray._ARRAY_API, None))
    table = (ctypes.c_void_p * _API_FUNCTIONS)(*own)
    table[_NEW_COPY] = ctypes.cast(_capsules.Py_NewRef, ctypes.c_void_p)
    if strings and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        replacement = _strided(_NewFromDescr(own[_NEW_FROM_DESCR] or 0))
        table[_NEW_FROM_DESCR] = ctypes.cast(replacement, ctypes.c_void_p)
        _kept.append(replacement)
    _kept.append(table)
    multiarray._ARRAY_API = _capsules.PyCapsule_New(ctypes.addressof(table), None, None)


def _strided(original: Any) -> Any:
    """Return PyArray_NewFromDescr as a function that lets numpy compute strides of 0."""

    def new_from_descr(
        subtype: Any, descr: Any, ndim: int, dims: Any, strides: Any, data: Any, flags: int, owner: Any
    ) -> Any:
        if strides and not any(strides[axis] for axis in range(ndim)):
            strides = None
        return original(subtype, descr, ndim, dims, strides, data, flags, owner)

    return _NewFromDescr(new_from_descr)


pb_utils.serialize_byte_tensor = _serialize
pb_utils.deserialize_bytes_tensor = _deserialize
