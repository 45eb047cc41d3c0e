"""What a client has for an input, as the input's array: a picture as pixels, a file as its bytes, a text.

A model says in its configuration what its inputs take: the parameter ``input_kinds``, such as ``image=pixels``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients.errors import InputError
from modelrepo.clients.images import load_pixels
from modelrepo.clients.models import ENCODED, PIXELS, TEXT, Model, Tensor

# A picture: height, width and colours.
PICTURE_AXES = 3
TAKES = {
    PIXELS: "a picture: a Path, the bytes of a file, or uint8 pixels (height, width, 3)",
    ENCODED: "the bytes of a JPEG, PNG or WebP file, or its Path",
    TEXT: "a text, or the Path of a file with one",
}


def as_array(value: Any, tensor: Tensor, model: Model) -> Any:
    """Return what a client has for an input in the form of that input: files are read, and one sample is a batch of 1.

    A ``Path`` stands for its file, alone or in a list or array with one for each sample; for pixels ``bytes`` are those
    of a picture's file. Other values are returned as they are. Raises InputError for a file that can't be read, for
    pictures of different sizes, and for a Path for an input without a kind; DependencyError without Pillow.
    """
    if not tensor.kind:
        first = next(iter(value), None) if isinstance(value, (list, tuple)) else value
        if isinstance(first, Path):
            raise InputError(
                f"{model.name} takes numbers or texts as {tensor.name}, not a file",
                "Read it first, such as with load_image or numpy.load",
            )
        return value
    items = _items(value)
    if tensor.kind == PIXELS:
        return _pictures(value, items, tensor, model)
    return _texts(value, items, tensor)


def _items(value: Any) -> list[Any]:
    """Return the files or texts in a value that may be one of them, or a list or array with some; none for others."""
    listed = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype.kind in "OUS")
    found = list(np.ravel(np.asarray(value, object))) if listed else [value]
    return found if found and all(isinstance(each, (Path, bytes, str)) for each in found) else []


def _pictures(value: Any, items: list[Any], tensor: Tensor, model: Model) -> Any:
    batched = len(tensor.dims) > PICTURE_AXES
    if not items:
        pixels = np.asarray(value)
        return pixels[np.newaxis] if batched and pixels.ndim == PICTURE_AXES else pixels
    if any(isinstance(each, str) for each in items):
        raise InputError(f"{model.name} takes {tensor.name} as {TAKES[PIXELS]}", "Write Path(…) around a file's name")
    pictures = [load_pixels(each) for each in items]
    if not batched and len(pictures) == 1:
        return pictures[0]
    sizes = sorted({(picture.shape[1], picture.shape[0]) for picture in pictures})
    if len(sizes) > 1:
        raise InputError(
            f"the pictures for {tensor.name} have different sizes, such as {sizes[0][0]}x{sizes[0][1]} and "
            f"{sizes[1][0]}x{sizes[1][1]}, and a request has one",
            "Ask about each size on its own, such as with batch_size=1",
        )
    return np.stack(pictures)


def _texts(value: Any, items: list[Any], tensor: Tensor) -> Any:
    """Return texts and files as an array of bytes and str, with the axes that the input has."""
    if not items:
        return value
    read = np.empty(len(items), object)
    read[:] = [_bytes_of(each) if isinstance(each, Path) else each for each in items]
    shape: tuple[int, ...] = np.shape(value) if isinstance(value, (list, tuple, np.ndarray)) else ()
    missing = len(tensor.dims) - max(1, len(shape))
    if shape and (missing <= 0 or any(dim not in (1, -1) for dim in tensor.dims[len(shape) :])):
        return read.reshape(shape)
    return read.reshape((*(shape or (1,)), *[1] * missing))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
