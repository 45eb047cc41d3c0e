"""System shared memory: tensors are in a region that client and server both map, and only their places are sent."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients.errors import MessageTooLarge
from modelrepo.clients.inputs import numpy_dtype
from modelrepo.clients.models import Array, Model, Tensor

ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """The place of a tensor in a region, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class Output:
    """An output that the server writes into the region."""

    place: Place
    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]


def predictable(model: Model, names: Iterable[str] | None, batch: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the outputs with a size that is known before the answer; the others use the connection."""
    shapes = {}
    for tensor in model.outputs:
        shape = _shape(tensor, model, batch)
        if shape is not None and (names is None or tensor.name in set(names)):
            shapes[tensor.name] = shape
    return shapes


def _shape(tensor: Tensor, model: Model, batch: int) -> tuple[int, ...] | None:
    shape = (batch, *tensor.dims[1:]) if model.max_batch_size else tensor.dims
    return None if tensor.datatype == "BYTES" or -1 in shape or 0 in shape else shape


class Region:
    """A region of this process, filled with a request's inputs and with room for its outputs."""

    def __init__(self, model: Model, arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Create the region; MessageTooLarge if shared memory has no room for it."""
        # Triton refuses places of zero bytes: empty tensors use the connection.
        contents = {name: _contents(array) for name, array in arrays.items() if array.size}
        self.inputs: dict[str, Place] = {}
        self.outputs: dict[str, Output] = {}
        end = 0
        for name, content in contents.items():
            self.inputs[name] = Place(end, content.nbytes)
            end = _aligned(end + content.nbytes)
        for tensor in model.outputs:
            if tensor.name in shapes:
                dtype, shape = numpy_dtype(tensor.datatype), shapes[tensor.name]
                size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
                self.outputs[tensor.name] = Output(Place(end, size), dtype, shape)
                end = _aligned(end + size)
        self.size = max(end, 1)
        self._memory = _create(self.size)
        self.name = self._memory.name
        for name, content in contents.items():
            self._view(self.inputs[name])[:] = content

    @property
    def key(self) -> str:
        """The name under which the server opens the region."""
        return f"/{self.name.lstrip('/')}"

    def read(self, output: Output, shape: tuple[int, ...]) -> Array:
        """Return a copy of an output that the server has written, in the shape of its answer."""
        return np.array(self._view(output.place).view(output.dtype).reshape(shape))

    def _view(self, place: Place) -> Array:
        assert self._memory.buf is not None  # noqa: S101 - closed only by destroy
        return np.frombuffer(self._memory.buf, np.uint8, place.size, place.offset)

    def destroy(self) -> None:
        """Remove the region; memory that a server still maps lives until it unmaps it."""
        self._memory.close()
        self._memory.unlink()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _create(size: int) -> SharedMemory:
    """Create a region and allocate all of it, so that a full /dev/shm is an error here and not a bus error later."""
    memory = SharedMemory(create=True, size=size)
    try:
        with Path("/dev/shm", memory.name).open("r+b") as file:  # noqa: S108 - where Linux keeps such regions
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        memory.close()
        memory.unlink()
        raise MessageTooLarge(
            f"shared memory has no room for {size:,} bytes: {error.strerror}",
            "Make /dev/shm larger, or leave shared memory out",
        ) from error
    return memory


def _contents(array: Array) -> Array:
    """Return the bytes of a tensor in the protocol's layout."""
    if array.dtype == object:
        return np.frombuffer(encode_strings(array), np.uint8)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def encode_strings(array: Array) -> bytes:
    """Return an array of bytes objects in the protocol's format: each after its length, four bytes little-endian."""
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.flat)
